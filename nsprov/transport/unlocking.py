"""Which encrypted keys have to be opened before anybody connects, and for which hosts.

Asked for is a key that was named (in the inventory, on the command line, as IdentityFile), and one that lies where ssh
looks by default only if there is nothing else to show to a host. What an agent holds needs no passphrase.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nsprov.transport import keyring, sshauth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.transport.keyring import Keyring
    from nsprov.transport.session import Host
    from nsprov.transport.sshconfig import Target


def wanted(ways: Sequence[tuple[Host, Sequence[Target]]], keys: Keyring) -> Mapping[str, Sequence[str]]:
    """Open what the inventory's passphrases open, and give the keys that need another one, with their hosts.

    A way is a host with how it is reached, and with the jump hosts before it.
    """
    found: dict[str, list[str]] = {}
    held: dict[str | None, frozenset[bytes]] = {}
    for host, way in ways:
        asked = way
        if host.passphrase is not None:
            for path in (path for target in way[:1] for path in target.identities):
                if keys.locked(path):
                    keys.unlock(path, host.passphrase.reveal(), "the passphrase of the inventory")
            asked = way[1:]  # if that was wrong, the host says so; jump hosts have keys of their own
        for target in asked:
            if "publickey" in target.methods:
                if target.agent not in held:
                    held[target.agent] = _held(target.agent)
                other = target is way[0] and host.password is not None
                for path in _locked(target, keys, held[target.agent], other=other):
                    found.setdefault(path, []).append(host.name)
    return {path: list(dict.fromkeys(names)) for path, names in found.items()}


def _locked(target: Target, keys: Keyring, held: frozenset[bytes], *, other: bool) -> list[str]:
    """Give the keys that a target needs opened; `other` tells that there is something else to show."""
    mine = [path for path in target.identities if keyring.public_half(path) in held]
    usable = other or bool(mine) or (bool(held) and not target.identities_only)
    usable = usable or any(keys.key(path) is not None for path in target.identities)
    locked = [path for path in target.identities if path not in mine and keys.locked(path)]
    default = os.path.join(os.path.expanduser("~"), ".ssh", "id_")
    return [path for path in locked if not (usable and path.startswith(default))]


def _held(path: str | None) -> frozenset[bytes]:
    agent = sshauth.open_agent(path)
    if agent is None:
        return frozenset()
    try:
        return frozenset(key.blob for key in agent.get_keys())
    finally:
        agent.close()
