"""The only code that touches the machine: system calls, netlink, mounts, files."""
