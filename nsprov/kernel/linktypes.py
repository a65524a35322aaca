"""Whether this host's kernel has a type of link, or can load it: found out without making one, or loading what is listed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING

from nsprov.errors import KernelError
from nsprov.kernel import rtnl
from nsprov.kernel.netlink import Request
from nsprov.plan.resource import HOST, Ref

if TYPE_CHECKING:
    from nsprov.kernel.machine import Kernel

_MODULES = "/lib/modules"
_ALIASES = ("modules.alias", "modules.builtin.modinfo")
_NAMES = {"gretap": "ip_gre", "ip6gretap": "ip6_gre"}
"""Modules that are not called like the type of their links."""

_IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_NUM_TX_QUEUES = 18, 1, 31


def lacks(kernel: Kernel, kind: str) -> str:
    """Say in whole sentences that the kernel has no such type of links; nothing if it has."""
    return str(kernel.seen.once(f"lacks {kind}", lambda: _lacks(kernel, kind)))


def _lacks(kernel: Kernel, kind: str) -> str:
    if listed(kind) or _answers(kernel, kind):
        return ""
    module = _NAMES.get(kind, kind)
    return (
        f'The kernel of this host, {os.uname().release}, has no links of type "{kind}". '
        f"Install its modules and try `modprobe {module}`, or use another `tunnel`."
    )


def listed(kind: str) -> bool:
    """Tell whether the module of these links is loaded, or depmod(8) or the kernel's build has listed it."""
    alias = rf"\brtnl-link-{kind}[\s\0]".encode()
    for name in _ALIASES:
        path = f"{_MODULES}/{os.uname().release}/{name}"
        # This kernel may have no modules, or they lie where we are not.
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if re.search(alias, file.read()):
                return True
    return os.path.isdir(f"/sys/module/{_NAMES.get(kind, kind)}")


def _answers(kernel: Kernel, kind: str) -> bool:
    """Ask the kernel for such a link with more queues than any can have: it refuses, but not before it has found the type.

    To find it, it may call modprobe(8), which can only come to something where our view of /lib/modules is not the host's.
    """
    try:
        kernel.netlink.send([Request(HOST, _impossible(kind), Ref("link", kind))])
    except KernelError as problem:
        return problem.errno != errno.EOPNOTSUPP
    return True


def _impossible(kind: str) -> rtnl.Message:
    head, queues = rtnl.IFINFO_FORMAT.pack(0, 0, 0, 0, 0), rtnl.attribute(_IFLA_NUM_TX_QUEUES, b"\xff\xff\0\0")
    info = rtnl.attribute(_IFLA_LINKINFO, rtnl.attribute(_IFLA_INFO_KIND, kind.encode() + b"\0"))
    return rtnl.Message(rtnl.RTM_NEWLINK, rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, head + queues + info)
