#!/bin/bash
# Run a command in a throw-away host: tests/sandbox.sh COMMAND...
#
# It has its own network (lo only: no packet gets out), mounts, processes, hostname and cgroups; /run is empty and /etc is
# a copy. When this script dies, everything in it dies. Who is not root runs the command as it is.
set -eu

# Each cgroup mount: its type, its options, where it is, and which group of it this process is in.
# For version 2 it is the root: below any other group with processes there are no controllers to be had (cgroups(7)).
cgroups() {
  awk '
    NR == FNR {
      split($0, of, ":")
      count = split(of[2], names, ",")
      for (i = 1; i <= count; i++) own[names[i]] = substr($0, length(of[1] of[2]) + 3)
      next
    }
    {
      for (i = 7; $i != "-"; i++);
      if ($(i + 1) == "cgroup2") print "cgroup2", "rw", $5, $5
      if ($(i + 1) != "cgroup") next
      count = split($(i + 3), options, ",")
      which = ""
      for (j = 1; j <= count; j++) {
        if (options[j] ~ /^name=/) which = which ",none"
        if (options[j] !~ /^(rw|ro|release_agent=.*)$/) which = which "," options[j]
      }
      group = own[options[count]]
      if ($4 != "/" && index(group, $4) == 1) group = substr(group, length($4) + 1)
      print "cgroup", substr(which, 2), $5, $5 (group == "/" ? "" : group)
    }' /proc/self/cgroup /proc/self/mountinfo
}

# Make a group in every hierarchy, move there, and let somebody stay behind who removes them when this process is over.
# It is not this script, which has to become the sandbox: a signal for the one is a signal for the other.
enter_cgroups() {
  local kind top which group groups=()
  while read -r kind _ _ top; do
    [ -w "$top/cgroup.procs" ] || continue
    groups+=("$top/nsprov-sandbox-$$")
    [ "$kind" = cgroup2 ] || continue
    for which in cpu cpuset io memory pids; do # what version 1 has is not to be had; the rest stays on, as after any lab
      echo "+$which" 2>/dev/null >"$top/cgroup.subtree_control" || true
    done
  done < <(cgroups)
  [ "${#groups[@]}" != 0 ] || return 0
  setsid "$0" --sweep $$ "${groups[@]}" </dev/null >/dev/null 2>&1 &
  for group in "${groups[@]}"; do
    # In version 2 what stays outside must not be in the group itself: it would have no controllers for its children.
    [ ! -e "${group%/*}/cgroup.controllers" ] || group=$group/outside
    mkdir -p "$group"
    if [ -e "$group/cpuset.mems" ] && [ ! -e "$group/cgroup.type" ]; then # version 1: empty until written (cpuset(7))
      for which in cpus mems; do cat "${group%/*}/cpuset.$which" >"$group/cpuset.$which"; done
    fi
    echo $$ >"$group/cgroup.procs"
  done
}

sweep() {
  local tries group
  tail -s 0.2 --pid="$1" -f /dev/null
  shift
  for tries in {1..100}; do # the last processes leave a group a moment after their PID 1
    for group in "$@"; do
      [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ -z "$(find "$@" -maxdepth 0 2>/dev/null)" ] && return 0
    sleep 0.1
  done
}

# Be in the groups themselves, for a cgroup namespace has for roots what its maker is in (cgroup_namespaces(7)).
enter_roots() {
  local kind top
  while read -r kind _ _ top; do
    [ "$kind" != cgroup2 ] || [ ! -d "$top/$1" ] || echo 0 >"$top/$1/cgroup.procs"
  done < <(cgroups)
}

# Show the groups made above as the roots of their hierarchies.
mount_cgroups() {
  local kind which path mounts
  mounts=$(cgroups)
  while read -r kind which path _; do
    [ -n "$kind" ] || continue
    umount -l "$path"
    mount -t "$kind" -o "$which" "$kind" "$path"
    [ "$kind" = cgroup ] || { mkdir "$path/sandbox" && echo 0 >"$path/sandbox/cgroup.procs"; }
  done <<<"$mounts"
}

case "${1:-}" in
  --sweep)
    shift
    sweep "$@"
    exit
    ;;
  --inside)
    enter_roots "$2"
    shift 2
    exec unshare --cgroup "$0" --mount "$@"
    ;;
  --mount) shift ;;
  *)
    [ "$(id -u)" = 0 ] || exec "$@" # tests that need root skip themselves
    enter_cgroups
    exec unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private \
      "$0" --inside "nsprov-sandbox-$$" "$@"
    ;;
esac

etc=$(mktemp -d)
mount -t tmpfs etc "$etc"
cp -a /etc/. "$etc"
mount --move "$etc" /etc
rmdir "$etc"
rm -rf /etc/netns
mount -t tmpfs run /run
mkdir -m 1777 /run/lock
mkdir /run/mount # umount(8)'s own
mount_cgroups
ip link set lo up
# Not exec: PID 1 must be something that reaps orphans, and bash does. The exit is for who edits this file meanwhile.
NSPROV_SANDBOX=$(readlink /proc/self/ns/net) "$@"; exit
