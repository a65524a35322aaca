"""How hosts are entered: what the command line adds to the inventory, which goes first, and secrets, asked for once."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.cli import asking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.cli.options import Given
    from nsprov.inventory import Host, Secret
    from nsprov.vault import Password

_SSH_PASSWORD = "SSH password: "  # noqa: S105 - the question
_BECOME_PASSWORD = "become password: "  # noqa: S105 - as above


def entered(hosts: Sequence[Host], given: Given) -> list[Host]:
    """Give the hosts as they are to be entered; this one needs no login, and no sudo if we are root.

    Raises:
        InputError: a password has to be asked for and there is nobody to ask, or its file cannot be read.

    """
    found = [_added(host, given) for host in hosts]
    if any(host.connection == "ssh" and host.password is None for host in found):
        secret = _ssh_password(given)
        found = [host if host.connection == "local" else replace(host, password=host.password or secret) for host in found]
    if any(host.become and host.become_password is None for host in found):
        secret = _become_password(given)
        found = [replace(host, become_password=host.become_password or secret) if host.become else host for host in found]
    return found


def _added(host: Host, given: Given) -> Host:
    """Add what the inventory does not say."""
    changes: dict[str, Any] = {}
    if host.connection == "local":
        if os.geteuid() != 0:
            changes["become"] = True
    else:
        changes = {"user": host.user or given.login, "private_key": host.private_key or given.private_key}
        if given.become and not _said(host, "become"):
            changes["become"] = True
    if given.become_method and not _said(host, "become_method"):
        changes["become_method"] = given.become_method.value
    return replace(host, **changes) if changes else host


def _said(host: Host, word: str) -> bool:
    return word in host.variables or f"ansible_{word}" in host.variables


def _ssh_password(given: Given) -> Secret | None:
    if given.connection_password_file:
        return _secret(asking.from_file(given.connection_password_file, "--connection-password-file"))
    if given.ask_pass:
        return _secret(asking.once(_SSH_PASSWORD, "-k", "use --connection-password-file"))
    return None


def _become_password(given: Given) -> Secret | None:
    if given.become_password_file:
        return _secret(asking.from_file(given.become_password_file, "--become-password-file"))
    if given.ask_become:
        said = asking.once(_BECOME_PASSWORD, "-K", "use --become-password-file")
        return _secret(said) if said else _ssh_password(given)  # as with Ansible, Enter means the same one
    return None


def vault_passwords(given: Given) -> list[Password]:
    """Read the vault passwords; a file that can be executed gives its own on stdout.

    Raises:
        InputError: a file cannot be read, or there is nobody to ask.

    """
    named = given.vault_password_file or list(filter(None, [os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")]))
    if not named and not given.ask_vault_pass:
        return []
    from nsprov.vault import Password  # noqa: PLC0415 - for start-up: hardly ever needed

    found = []
    for one in named:
        label, _, path = ("", "", one) if os.path.exists(one) else one.rpartition("@")
        found.append(Password(label, asking.from_file(os.path.expanduser(path), "--vault-password-file").encode()))
    if given.ask_vault_pass:
        found.append(Password("", asking.once("vault password: ", "-J", "use --vault-password-file").encode()))
    return found


def _secret(text: str) -> Secret:
    from nsprov.inventory import Secret  # noqa: PLC0415 - for start-up: hardly ever needed

    return Secret(text)
