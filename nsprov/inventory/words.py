"""The variables by which an inventory says how to reach a host: Ansible's, their older names, ours, and the short ones."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "address": ("ansible_host", "ansible_ssh_host"),
        "port": ("ansible_port", "ansible_ssh_port"),
        "user": ("ansible_user", "ansible_ssh_user"),
        "connection": ("ansible_connection",),
        "password": ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        "become": ("ansible_become",),
        "become_method": ("ansible_become_method",),
        "become_user": ("ansible_become_user", "ansible_sudo_user", "ansible_su_user", "ansible_doas_user"),
        "become_password": (
            *("ansible_become_password", "ansible_become_pass"),
            *("ansible_sudo_pass", "ansible_su_pass", "ansible_doas_pass"),
        ),
        "python": ("ansible_python_interpreter",),
        "private_key": ("ansible_private_key_file", "ansible_ssh_private_key_file"),
        "passphrase": ("ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase"),
        "underlay": ("nsprov_underlay",),
        "weight": ("nsprov_weight",),
    }
)
"""What a host has, and the variables that say it, of which the last one that is set counts, as in Ansible."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"),
            "write what they say into ~/.ssh/config, or a file for -F",
        ),
        **dict.fromkeys(("ansible_private_key", "ansible_ssh_private_key"), "put the key into a file, and name that"),
    }
)
"""What would change how a host is reached and cannot be done, with what to do instead."""

SHORT: Mapping[str, str] = MappingProxyType(
    {
        "host": "ansible_host",
        "port": "ansible_port",
        "user": "ansible_user",
        "connection": "ansible_connection",
        "password": "ansible_password",
        "become": "ansible_become",
        "become_method": "ansible_become_method",
        "become_password": "ansible_become_password",
        "python": "ansible_python_interpreter",
        "private_key": "ansible_ssh_private_key_file",
        "underlay": "nsprov_underlay",
        "weight": "nsprov_weight",
    }
)
"""What a YAML inventory may say instead."""

_SECRET = re.compile(r"(?:.*[_-])?(?:pass|password|passwd|passphrase|secret|token|private_key|api_?key)", re.IGNORECASE)


def in_full(given: Mapping[str, Any]) -> dict[str, str]:
    """Give the full name of each variable that a mapping sets; with one of Ansible's in it, short words are just names."""
    if any(name.startswith("ansible_") for name in given):
        return {name: name for name in given}
    return {name: SHORT.get(name, name) for name in given}


def is_secret(name: str) -> bool:
    """Tell whether a variable's name says that its value is not to be shown."""
    return _SECRET.fullmatch(name) is not None
