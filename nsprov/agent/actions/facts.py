"""`setup`: what a playbook may want to know of a host, read from /proc, /sys and /etc; no program is run."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.agent.actions.terms import Terms

    Facts = dict[str, Any]

_FAMILIES = {
    **dict.fromkeys(("debian", "ubuntu", "raspbian", "linuxmint"), "Debian"),
    **dict.fromkeys(("rhel", "centos", "fedora", "rocky", "almalinux", "ol"), "RedHat"),
    **dict.fromkeys(("alpine",), "Alpine"),
    **dict.fromkeys(("arch",), "Archlinux"),
    **dict.fromkeys(("opensuse-leap", "opensuse-tumbleweed", "sles"), "Suse"),
}
_NAMES = {"debian": "Debian", "ubuntu": "Ubuntu", "fedora": "Fedora", "alpine": "Alpine", "rocky": "Rocky", "rhel": "RedHat"}
_TOOLS = {"apt-get": "apt", "dnf": "dnf", "yum": "yum", "apk": "apk", "pacman": "pacman", "zypper": "zypper"}
_MIB = 1024


def setup(_args: Mapping[str, Any], _terms: Terms) -> dict[str, Any]:
    """Give the facts, under the names that Ansible has for them."""
    found = {**_system(), **_distribution(), **_memory(), **_network(), **_user(), **_date()}
    return {"changed": False, "ansible_facts": {f"ansible_{name}": value for name, value in found.items()}}


def _system() -> Facts:
    about = os.uname()
    major, minor, micro = sys.version_info[:3]
    return {
        "architecture": about.machine,
        "fqdn": _full_name(about.nodename),
        "hostname": about.nodename.partition(".")[0],
        "nodename": about.nodename,
        "kernel": about.release,
        "kernel_version": about.version,
        "system": about.sysname,
        "machine": about.machine,
        "processor_vcpus": os.cpu_count(),
        "processor_nproc": len(os.sched_getaffinity(0)),
        "python_version": platform.python_version(),
        "python": {"executable": sys.executable, "version": {"major": major, "minor": minor, "micro": micro}},
        "service_mgr": "systemd" if os.path.isdir("/run/systemd/system") else _text("/proc/1/comm").strip(),
        "machine_id": _text("/etc/machine-id").strip(),
        "uptime_seconds": int(float(_text("/proc/uptime").split()[0] or 0)),
        "env": dict(os.environ),
    }


def _full_name(name: str) -> str:
    """Give the host's name with its domain, as it is written down here; no server is asked (resolv.conf(5), hosts(5))."""
    if "." in name:
        return name
    for row in (line.partition("#")[0].split() for line in _text("/etc/hosts").splitlines()):
        if name in row[1:]:
            return row[1]
    for row in (line.split() for line in _text("/etc/resolv.conf").splitlines()):
        if len(row) > 1 and row[0] in ("domain", "search"):
            return f"{name}.{row[1]}"
    return name


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _distribution() -> Facts:
    lines = (line.partition("=") for line in _text("/etc/os-release").splitlines())
    release = {name: value.strip("\"'") for name, _, value in lines}
    word, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if word == "debian":
        version = _text("/etc/debian_version").strip() or version
    return {
        "distribution": _NAMES.get(word, release.get("NAME", "")),
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "distribution_release": release.get("VERSION_CODENAME", ""),
        "os_family": _FAMILIES.get(word, release.get("NAME", "")),
        "pkg_mgr": next((name for tool, name in _TOOLS.items() if shutil.which(tool)), "unknown"),
    }


def _memory() -> Facts:
    rows = (line.split() for line in _text("/proc/meminfo").splitlines())
    sizes = {row[0].rstrip(":"): int(row[1]) // _MIB for row in rows if len(row) > 1}
    return {
        "memtotal_mb": sizes.get("MemTotal", 0),
        "memfree_mb": sizes.get("MemFree", 0),
        "swaptotal_mb": sizes.get("SwapTotal", 0),
        "swapfree_mb": sizes.get("SwapFree", 0),
    }


def _network() -> Facts:
    names = sorted(name for _, name in socket.if_nameindex())
    found: Facts = {"interfaces": names, "dns": {"nameservers": _nameservers()}}
    gateway, interface = _default_route()
    address = _source(gateway)
    found["default_ipv4"] = {"gateway": gateway, "interface": interface, "address": address} if gateway else {}
    v6 = [row for row in (line.split() for line in _text("/proc/net/if_inet6").splitlines()) if row[5] != "lo"]
    found["all_ipv6_addresses"] = [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])) for row in v6]
    found["all_ipv4_addresses"] = _local_addresses()
    for name in names:
        about: Facts = {"device": name, "macaddress": _text(f"/sys/class/net/{name}/address").strip()}
        about["mtu"] = int(_text(f"/sys/class/net/{name}/mtu").strip() or 0)
        about["active"] = _text(f"/sys/class/net/{name}/operstate").strip() in ("up", "unknown")
        found[name.replace("-", "_").replace(".", "_")] = about
    return found


def _nameservers() -> list[str]:
    rows = (line.split() for line in _text("/etc/resolv.conf").splitlines())
    return [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]


def _default_route() -> tuple[str, str]:
    for row in (line.split() for line in _text("/proc/net/route").splitlines()[1:]):
        if row[1] == "00000000":
            return socket.inet_ntoa(bytes.fromhex(row[2])[::-1]), row[0]
    return "", ""


def _source(remote: str) -> str:
    """Give the address from which a remote one would be reached; nothing is sent."""
    if not remote:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _local_addresses() -> list[str]:
    """Give the IPv4 addresses of this host but for the loopback's (/proc/net/fib_trie: `/32 host LOCAL` below each)."""
    found, last = [], ""
    for line in _text("/proc/net/fib_trie").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "|--":
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and not last.startswith("127.") and last not in found:
            found.append(last)
    return found


def _user() -> Facts:
    who = pwd.getpwuid(os.geteuid())
    return {"user_id": who.pw_name, "user_uid": who.pw_uid, "user_gid": who.pw_gid, "user_dir": who.pw_dir}


def _date() -> Facts:
    now = time.localtime()
    return {
        "date_time": {
            "date": time.strftime("%Y-%m-%d", now),
            "time": time.strftime("%H:%M:%S", now),
            "epoch": str(int(time.time())),
            "iso8601": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "tz": time.strftime("%Z", now),
        }
    }
