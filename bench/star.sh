#!/bin/sh
# The star as the tutorials write it: one command per step, `ip netns exec` for every step inside a node.
# usage: star.sh up N | star.sh down N
set -e

up() {
    brctl addbr br0
    brctl stp br0 off
    ip addr add 10.64.0.1/16 dev br0
    ip link set br0 up
    i=1
    while [ "$i" -le "$1" ]; do
        ip netns add "h$i"
        ip link add "v$i" type veth peer name "p$i"
        ip link set "p$i" netns "h$i" name eth0
        brctl addif br0 "v$i"
        ip link set "v$i" up
        ip netns exec "h$i" ip link set lo up
        ip netns exec "h$i" ip addr add "10.64.$(((i + 1) / 256)).$(((i + 1) % 256))/16" dev eth0
        ip netns exec "h$i" ip link set eth0 up
        ip netns exec "h$i" ip route add default via 10.64.0.1
        mkdir -p "/etc/netns/h$i"
        echo "nameserver 10.64.0.1" >"/etc/netns/h$i/resolv.conf"
        i=$((i + 1))
    done
}

down() {
    i=1
    while [ "$i" -le "$1" ]; do
        ip netns del "h$i"
        rm -r "/etc/netns/h$i"
        i=$((i + 1))
    done
    ip link set br0 down
    brctl delbr br0
}

case "$1" in
up | down) "$1" "$2" ;;
*)
    echo "usage: $0 up|down N" >&2
    exit 2
    ;;
esac
