"""Verify host keys as OpenSSH does: the whole syntax of known_hosts, over text; a policy for keys that are new.

paramiko's own reader stops at `@revoked` and `@cert-authority` and knows no wildcards, and Fabric accepts every key.
Stricter than OpenSSH in one case: with "accept-new", a key of a type not seen before is refused for a host that is
known by another type, or else an attacker could just offer another type.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import certificates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.transport.certificates import Certificate
    from nsprov.transport.session import HostKeyChecking

DEFAULT_PORT = 22
_MARKERS = ("@revoked", "@cert-authority")


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    file: str
    line: int
    marker: str
    patterns: str
    key_type: str
    key: bytes


@dataclass(frozen=True)
class Offer:
    """The key that a server has shown, and the name by which it should be known."""

    name: str
    port: int
    key_type: str
    key: bytes
    certificate: Certificate | None = None

    @property
    def known_as(self) -> str:
        """Give the name as known_hosts writes it."""
        return written(self.name, self.port)

    @property
    def fingerprint(self) -> str:
        """Give the fingerprint as `ssh-keygen -l` prints it."""
        return _fingerprint(self.key)


def _fingerprint(key: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Verdict:
    """What the known keys say of an offered one, and the line that says it."""

    kind: Literal["known", "new", "changed", "revoked", "authority"]
    entry: Entry | None = None


@dataclass(frozen=True)
class Verifier:
    """The known keys' files and what to do with a new key."""

    files: Sequence[str]
    checking: HostKeyChecking
    hashed: bool = False
    writable: str | None = None
    revoked: str | None = None

    def entries(self) -> list[Entry]:
        """Read the files; one that is not there has no entries, but what revokes keys must be there."""
        found = [entry for path in self.files for entry in load(path)]
        return found + (load_revoked(self.revoked) if self.revoked else [])

    def verify(self, host: str, offer: Offer) -> str:
        """Accept the offered key, with a remark that is empty when it was known.

        Raises:
            Unreachable: the key is revoked, differs from the known one, or is new and new ones are not accepted.

        """
        entries = self.entries()
        verdict = judge(entries, offer)
        authority = _revoked(entries, offer) if offer.certificate else None
        if verdict.kind == "revoked" or authority:
            raise _refused(host, offer, Verdict("revoked", authority) if authority else verdict)
        flaw = _flaw(entries, offer, offer.certificate) if offer.certificate else ""
        if offer.certificate and not flaw:
            return ""
        if verdict.kind == "known":
            return f"the certificate of the host {flaw}, but its key is known" if flaw else ""
        if verdict.kind == "changed":
            raise _refused(host, offer, verdict)
        if flaw:
            raise _uncertified(host, offer, flaw)
        if self.checking == "yes" or verdict.kind == "authority":
            raise _unknown(host, offer, verdict)
        if self.checking == "accept-new" and self.writable:
            verdict = remember(self.writable, offer, hashed=self.hashed)
            if verdict.kind not in ("known", "new"):
                raise _refused(host, offer, verdict)
            return f'new host key {offer.fingerprint} of "{offer.known_as}" was added to {self.writable}'
        return f'the host key {offer.fingerprint} of "{offer.known_as}" is not known and was not checked'


_SETTLED: tuple[tuple[str, Literal["revoked", "known"]], ...] = (("@revoked", "revoked"), ("", "known"))


def written(name: str, port: int) -> str:
    """Write a host as known_hosts does: the port only if it is not 22."""
    return name.lower() if port == DEFAULT_PORT else f"[{name.lower()}]:{port}"


def load(path: str) -> list[Entry]:
    """Read one file; a file that is not there or not readable has no entries."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return parse(source.read(), path)
    except OSError:
        return []  # OpenSSH does the same: the host is then unknown


def load_revoked(path: str) -> list[Entry]:
    """Read the file that RevokedHostKeys names: one public key a line.

    Raises:
        Unreachable: it cannot be read or is binary (a KRL), so that nobody knows what it revokes; OpenSSH refuses then, too.

    """
    hint = "correct RevokedHostKeys in the ssh_config; a KRL cannot be read, a file of public keys can"
    try:
        with open(path, encoding="utf-8") as source:
            lines = [f"@revoked * {line}" if line[:1] not in ("", "#") else "" for line in source.read().split("\n")]
    except (OSError, ValueError) as problem:
        raise Unreachable(Diagnostic(f'revoked host keys cannot be read from "{path}"', path, str(problem), hint)) from problem
    return parse("\n".join(lines), path)


def parse(text: str, path: str = "known_hosts") -> list[Entry]:
    """Read the lines that are entries; comments and lines that are none are passed over, as OpenSSH does."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0] in _MARKERS else ""
        if len(fields) < 3 or fields[0].startswith(("#", "@")):  # noqa: PLR2004 - hosts, type, key
            continue
        try:
            key = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            continue
        if _inner_type(key) == fields[1]:
            entries.append(Entry(path, number, marker, fields[0], fields[1], key))
    return entries


def _inner_type(key: bytes) -> str:
    """Read the type that a key says of itself: a length of four bytes, then its name."""
    return key[4 : 4 + int.from_bytes(key[:4], "big")].decode("ascii", "replace")


def matches(patterns: str, name: str) -> bool:
    """Tell whether a line's host field means `name`: hashed, or a list with wildcards and negations."""
    if patterns.startswith("|1|"):
        return _hash_matches(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        bare = pattern.removeprefix("!")
        if bare == name.lower() or (("*" in bare or "?" in bare) and _fits(bare, name.lower())):
            if bare != pattern:
                return False
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None


def _hash_matches(field: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.lower().encode(), "sha1"), digest)


def authorities(entries: Iterable[Entry], name: str, port: int) -> list[Entry]:
    """Give the certificate authorities that are trusted for a host; a line without the port is good for any."""
    names = {written(name, port), name}
    return [entry for entry in entries if entry.marker == "@cert-authority" and any(matches(entry.patterns, n) for n in names)]


def _revoked(entries: Iterable[Entry], offer: Offer) -> Entry | None:
    """Give the line that revokes the authority of a host's certificate, if one does."""
    names = {offer.known_as, offer.name}
    authority = offer.certificate.authority if offer.certificate else b""
    found = [entry for entry in entries if entry.marker == "@revoked" and entry.key == authority]
    return next((entry for entry in found if any(matches(entry.patterns, name) for name in names)), None)


def _flaw(entries: Iterable[Entry], offer: Offer, certificate: Certificate) -> str:
    """Say why a host's certificate is not good; nothing when it is."""
    if all(entry.key != certificate.authority for entry in authorities(entries, offer.name, offer.port)):
        return f"is signed by {_fingerprint(certificate.authority)}, which nothing trusts for it"
    is_principal = any(_fits(principal.lower(), offer.name.lower()) for principal in certificate.principals)
    return certificates.flaw(certificate, is_principal=is_principal)


def judge(entries: Sequence[Entry], offer: Offer) -> Verdict:
    """Say what the entries say of the offered key."""
    here = [entry for entry in entries if matches(entry.patterns, offer.known_as)]
    # a line without the port is good for any port, but does not make a differing key a changed one
    near = here + [entry for entry in entries if matches(entry.patterns, offer.name)]
    for marker, kind in _SETTLED:
        for entry in near:
            if entry.marker == marker and entry.key == offer.key:
                return Verdict(kind, entry)
    plain = [entry for entry in here if not entry.marker]
    if plain:
        return Verdict("changed", next((entry for entry in plain if entry.key_type == offer.key_type), plain[0]))
    for entry in here:
        if entry.marker == "@cert-authority":
            return Verdict("authority", entry)
    return Verdict("new")


def known_types(entries: Iterable[Entry], name: str, port: int) -> list[str]:
    """Name the types of the keys that the host is known by, in the words of the key exchange, to ask for them first."""
    types: list[str] = []
    for entry in entries:
        if not entry.marker and matches(entry.patterns, written(name, port)):
            types += ["rsa-sha2-512", "rsa-sha2-256"] if entry.key_type == "ssh-rsa" else [entry.key_type]
    return list(dict.fromkeys(types))


def remember(path: str, offer: Offer, *, hashed: bool = False) -> Verdict:
    """Append the offered key to a file, unless meanwhile somebody else has settled the question there."""
    os.makedirs(os.path.dirname(path) or ".", 0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, target)
        fcntl.flock(target, fcntl.LOCK_EX)
        with open(path, encoding="utf-8", errors="replace") as source:
            text = source.read()
        verdict = judge(parse(text, path), offer)
        if verdict.kind == "new":
            start = "" if not text or text.endswith("\n") else "\n"
            key = base64.b64encode(offer.key).decode()
            os.write(target, f"{start}{_field(offer.known_as, hashed=hashed)} {offer.key_type} {key}\n".encode())
    return verdict


def _field(name: str, *, hashed: bool) -> str:
    if not hashed:
        return name
    salt = secrets.token_bytes(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _refused(host: str, offer: Offer, verdict: Verdict) -> Unreachable:
    entry = verdict.entry
    assert entry is not None
    if verdict.kind == "revoked":
        summary, hint = "the host key is revoked", "give the host a new key; this one is known to be in other hands"
    else:
        summary = "the host key has changed"
        hint = f"if the host was reinstalled, remove the old key: ssh-keygen -f {entry.file} -R '{offer.known_as}'"
    place = f"{entry.file}:{entry.line}"
    detail = f'"{offer.known_as}" shows {offer.key_type} {offer.fingerprint}; {place} has another {entry.key_type} key'
    if verdict.kind == "revoked":
        detail = f'"{offer.known_as}" shows {offer.key_type} {offer.fingerprint}, which {place} revokes'
    return Unreachable(Diagnostic(summary=summary, where=host, detail=f"{detail}; nothing was sent to it", hint=hint))


def _unknown(host: str, offer: Offer, verdict: Verdict) -> Unreachable:
    detail = f'"{offer.known_as}" shows {offer.key_type} {offer.fingerprint}; nothing was sent to it'
    hint = "connect once with ssh and compare the fingerprint, or use --host-key-checking accept-new"
    if verdict.kind == "authority" and verdict.entry is not None:
        place = f"{verdict.entry.file}:{verdict.entry.line}"
        detail += f"; {place} trusts a certificate authority, but the host has shown no certificate"
        hint = "give the host a certificate (sshd's HostCertificate), or add its own key to known_hosts"
    return Unreachable(Diagnostic(summary="the host key is not known", where=host, detail=detail, hint=hint))


def _uncertified(host: str, offer: Offer, flaw: str) -> Unreachable:
    summary = "the host's certificate is not good"
    detail = f'the certificate of "{offer.known_as}" {flaw}; nothing was sent to it'
    hint = "sign the host's key again (ssh-keygen -h -s CA -n NAMES), or add the key itself to known_hosts"
    return Unreachable(Diagnostic(summary=summary, where=host, detail=detail, hint=hint))
