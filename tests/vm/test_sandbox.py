"""The sandbox of these tests on a host with cgroup version 2 alone."""

from __future__ import annotations

from pathlib import Path

SANDBOX = Path(__file__).parents[1] / "sandbox.sh"
INSIDE = r"""
cd /sys/fs/cgroup
echo "+cpu +memory +pids +io +cpuset" >cgroup.subtree_control
mkdir -p left/over
ls left/cpu.max left/memory.max left/pids.max left/io.max left/cpuset.cpus >/dev/null && cat /proc/self/cgroup
exit 7
"""


def test_controllers_are_to_be_had_in_it(vm):
    """Inside, groups may have limits, though there are processes; outside, nothing is left, and the exit code is known."""
    vm.run("cat >/run/sandbox.sh; chmod +x /run/sandbox.sh", stdin=SANDBOX.read_text())
    said = vm.run(f"/run/sandbox.sh sh -c '{INSIDE}'", code=7)

    assert (said.out, said.err) == ("0::/sandbox\n", "")
    left = "ls -d /sys/fs/cgroup/nsprov-*"
    vm.run(f"n=0; while {left}; do n=$((n + 1)); [ $n -lt 99 ] || exit 1; sleep 0.2; done; rm /run/sandbox.sh")
