#!/bin/bash
# Run a command in a throw-away host: tests/sandbox.sh COMMAND...
#
# It has its own network (lo only: no packet gets out), mounts, processes and hostname; /run is empty and /etc is a copy.
# When this script dies, everything in it dies. Who is not root runs the command as it is.
set -eu

if [ "${1:-}" != --inside ]; then
  [ "$(id -u)" = 0 ] || exec "$@" # tests that need root skip themselves
  exec unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private "$0" --inside "$@"
fi
shift

etc=$(mktemp -d)
mount -t tmpfs etc "$etc"
cp -a /etc/. "$etc"
mount --move "$etc" /etc
rmdir "$etc"
rm -rf /etc/netns
mount -t tmpfs run /run
mkdir -m 1777 /run/lock
mkdir /run/mount # umount(8)'s own
ip link set lo up
# Not exec: PID 1 must be something that reaps orphans, and bash does.
NSPROV_SANDBOX=$(readlink /proc/self/ns/net) "$@"
