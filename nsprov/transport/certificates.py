"""OpenSSH's certificates (PROTOCOL.certkeys): read one, and say whether one of a host's is good.

paramiko negotiates them and checks that the host has the certified key; who has signed it, for whom and until when is
for us to check. Stricter than OpenSSH before 10.3 in one case: a host certificate without principals is good for no host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import paramiko
from paramiko.pkey import UnknownKeyType

SUFFIX = "-cert-v01@openssh.com"
"""How the name of a certificate's type ends; before it stands the type of the key."""

_FIELDS = {"ssh-rsa": 2, "ssh-ed25519": 1}  # of the key itself; an ECDSA key has its curve and its point
_ECDSA_FIELDS = 2
_HOST = 2
_SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate says; `signed` is the part that `signature` of the key `authority` is for."""

    key_type: str
    key: bytes
    is_host: bool
    name: str
    principals: tuple[str, ...]
    after: int
    before: int
    critical: bytes
    authority: bytes
    signed: bytes
    signature: bytes


def parse(blob: bytes) -> Certificate | None:
    """Read a certificate; `None` when it is none."""
    message = paramiko.Message(blob)
    try:
        return _parsed(message, blob)
    except (ValueError, IndexError, paramiko.SSHException):
        return None


def _parsed(message: paramiko.Message, blob: bytes) -> Certificate | None:
    full = message.get_text()
    if not full.endswith(SUFFIX):
        return None
    key_type = full[: -len(SUFFIX)]
    message.get_string()  # the nonce
    key = paramiko.Message()
    key.add_string(key_type)
    for _ in range(_FIELDS.get(key_type, _ECDSA_FIELDS)):
        key.add_string(message.get_string())
    message.get_int64()  # the serial number
    is_host = message.get_int() == _HOST
    name = message.get_string().decode(errors="replace")
    principals = _strings(message.get_string())
    after, before = message.get_int64(), message.get_int64()
    critical = message.get_string()
    message.get_string()  # extensions: a host's have none that mean anything
    message.get_string()  # reserved
    authority = message.get_string()
    signed = blob[: len(blob) - len(message.get_remainder())]
    signature = message.get_string()
    if not signature or message.get_remainder():
        return None
    return Certificate(
        key_type=key_type,
        key=key.asbytes(),
        is_host=is_host,
        name=name,
        principals=principals,
        after=after,
        before=before,
        critical=critical,
        authority=authority,
        signed=signed,
        signature=signature,
    )


def _strings(data: bytes) -> tuple[str, ...]:
    message, found = paramiko.Message(data), []
    while message.get_remainder():
        found.append(message.get_string().decode(errors="replace"))
    return tuple(found)


def expired(certificate: Certificate, now: float | None = None) -> str:
    """Say how a certificate is out of its time; nothing when it is in it."""
    now = time.time() if now is None else now
    if now < certificate.after:
        return f"is not valid before {_shown(certificate.after)}"
    if now >= certificate.before:
        return f"has expired on {_shown(certificate.before)}"
    return ""


def _shown(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def flaw(certificate: Certificate, *, is_principal: bool) -> str:
    """Say what is wrong with a host's certificate whose authority is trusted for this host; nothing when it is good."""
    if not certificate.is_host:
        return "is one for users"
    if not certificate.principals:
        return "names no host"
    if not is_principal:
        return f"is for {', '.join(certificate.principals)}"
    if certificate.critical:
        return "has critical options, which nobody knows"
    return expired(certificate) or ("" if _is_signed(certificate) else "is not signed by its authority")


def _is_signed(certificate: Certificate) -> bool:
    """Check the signature; SHA-1 and what we do not know is no signature."""
    if paramiko.Message(certificate.signature).get_text() not in _SIGNATURES:
        return False
    authority = paramiko.Message(certificate.authority).get_text()
    try:
        key = paramiko.PKey.from_type_string(authority, certificate.authority)
        return bool(key.verify_ssh_sig(certificate.signed, paramiko.Message(certificate.signature)))
    except (ValueError, TypeError, paramiko.SSHException, UnknownKeyType):
        return False
