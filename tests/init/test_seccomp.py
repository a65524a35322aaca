"""The filter, run by a machine of ours for every architecture; that the kernel takes it is tested with workloads."""

from __future__ import annotations

import struct

import pytest

from nsprov.init import seccomp

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NUMBERS = {
    "x86_64": {"read": 0, "mount": 165, "clone": 56, "unshare": 272, "ioctl": 16, "reboot": 169, "syslog": 103, "keyctl": 250},
    "aarch64": {"read": 63, "mount": 40, "clone": 220, "unshare": 97, "ioctl": 29, "reboot": 142, "syslog": 116, "keyctl": 219},
}


def run(program, number, *arguments, arch):
    """Do what the kernel does with a classic BPF program."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    steps = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, operand)
            continue
        passed = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[code]
        at += true if passed else false


@pytest.fixture(name="verdict", params=list(MACHINES))
def _verdict(request):
    machine = request.param

    def verdict(name, *arguments, kept=(), arch=None):
        number = NUMBERS[machine].get(name, name)
        return run(seccomp.program(kept, machine), number, *arguments, arch=arch or MACHINES[machine])

    verdict.machine = machine
    return verdict


def test_ordinary_calls_pass(verdict):
    """Read, fork, threads, ioctls."""
    assert verdict("read") == ALLOW
    assert verdict("clone", 0x11) == ALLOW
    assert verdict("clone", 0x3D0F00) == ALLOW
    assert verdict("unshare", 0x200) == ALLOW
    assert verdict("ioctl", 0, 0x5401) == ALLOW


def test_another_architecture_is_killed(verdict):
    """The numbers would mean other calls."""
    assert verdict("read", arch=0x40000003) == KILL
    if verdict.machine == "x86_64":
        assert verdict(0x40000000) == KILL
        assert verdict(0x40000000 + 16, 0, 0x5412) == KILL
        assert verdict(0xFFFFFFFF) == ALLOW


def test_a_capability_opens_what_it_is_for(verdict):
    """Without it, the call is refused."""
    for name, capability in (("mount", "SYS_ADMIN"), ("reboot", "SYS_BOOT"), ("syslog", "SYSLOG")):
        assert verdict(name) == EPERM
        assert verdict(name, kept={"NET_ADMIN"}) == EPERM
        assert verdict(name, kept={capability}) == ALLOW
    assert verdict("keyctl", kept={"SYS_ADMIN"}) == EPERM


def test_namespaces(verdict):
    """New ones are for who may have them; clone3 hides its flags, and is not there."""
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict("unshare", flag) == EPERM
        assert verdict("unshare", flag, kept={"SYS_ADMIN"}) == ALLOW
        assert verdict("clone", flag | 0x11) == (EPERM if flag != 0x80 else ALLOW)
    assert verdict(435) == ENOSYS
    assert verdict(435, kept={"SYS_ADMIN"}) == ALLOW
    assert verdict(425, kept={"SYS_ADMIN"}) == ENOSYS


def test_typing_on_a_terminal(verdict):
    """Whatever is in the upper half, which the kernel does not look at."""
    for number in (0x5412, 0x541C):
        assert verdict("ioctl", 0, number, kept={"SYS_ADMIN"}) == EPERM
        assert verdict("ioctl", 0, number | 1 << 32) == EPERM


def test_unknown_architectures():
    """There is no filter by default that would hold nothing."""
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program((), "riscv64")


def test_it_fits():
    """The kernel takes 4096 instructions; a filter costs each call, so it shall be short."""
    assert all(len(seccomp.program((), machine)) // 8 < 120 for machine in MACHINES)
