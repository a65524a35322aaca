#!/bin/bash
# The star with `ip -batch`: two batches in the host, then one `ip -n NODE -batch` per node, bridge up last.
# usage: star_batch.sh up N move|inplace | star_batch.sh down N
#   move     the pair is made in the host, and one end is moved into the node
#   inplace  the pair is made with its end already in the node, under its final name
set -e

host_lines() { # N VARIANT
    local i
    echo "link add br0 group 5741 type bridge stp_state 0"
    for ((i = 1; i <= $1; i++)); do
        if [ "$2" = move ]; then
            echo "link add v$i group 5741 type veth peer name p$i"
            echo "link set p$i netns h$i name eth0"
            echo "link set v$i master br0 up"
        else
            # master, up and the peer's namespace in one message: the best that ip(8) can say
            echo "link add v$i up group 5741 master br0 type veth peer name eth0 netns h$i"
        fi
    done
    echo "addr add 10.64.0.1/16 dev br0"
}

up() { # N VARIANT
    local i dirs=()
    for ((i = 1; i <= $1; i++)); do
        echo "netns add h$i"
    done | ip -batch -
    host_lines "$1" "$2" | ip -batch -
    for ((i = 1; i <= $1; i++)); do
        ip -n "h$i" -batch - <<END
link set lo up
link set eth0 up
addr add 10.64.$(((i + 1) / 256)).$(((i + 1) % 256))/16 dev eth0
route add default via 10.64.0.1
END
        dirs+=("/etc/netns/h$i")
    done
    ip link set br0 up # last: else each new node's IPv6 neighbour discovery floods to all before it
    mkdir -p "${dirs[@]}"
    for ((i = 1; i <= $1; i++)); do
        echo "nameserver 10.64.0.1" >"/etc/netns/h$i/resolv.conf"
    done
}

down() { # N
    local i dirs=()
    for ((i = 1; i <= $1; i++)); do
        dirs+=("/etc/netns/h$i")
    done
    for ((i = 1; i <= $1; i++)); do
        echo "netns del h$i"
    done | ip -batch -
    ip link del group 5741
    rm -r "${dirs[@]}"
}

case "$1:$3" in
up:move | up:inplace) up "$2" "$3" ;;
down:*) down "$2" ;;
*)
    echo "usage: $0 up N move|inplace, or down N" >&2
    exit 2
    ;;
esac
