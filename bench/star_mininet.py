#!/usr/bin/python3
"""The star as a Mininet network on a Linux bridge, without a controller.

A Mininet network lives in the process that made it, so this one stays: it prints "up PID ..." (the shell of each node)
when the network has started, and takes it down again at the end of its standard input.
It has to run under the python3 of Debian, for which the package "mininet" is built.
"""

import sys

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


def main():
    count = int(sys.argv[1])
    setLogLevel("error")
    net = Mininet(switch=LinuxBridge, controller=None, ipBase="10.64.0.0/16", waitConnected=False)
    bridge = net.addSwitch("br0")
    for number in range(1, count + 1):
        high, low = divmod(number + 1, 256)
        host = net.addHost(f"h{number}", ip=f"10.64.{high}.{low}/16", defaultRoute="via 10.64.0.1")
        net.addLink(host, bridge, intfName1="eth0")
    net.start()
    bridge.cmd("ip addr add 10.64.0.1/16 dev br0")
    print("up", *(host.pid for host in net.hosts), flush=True)
    sys.stdin.read()
    net.stop()


if __name__ == "__main__":
    main()
