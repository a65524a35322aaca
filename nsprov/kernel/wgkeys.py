"""The WireGuard key pair that a lab has on this host: made here, kept in the lab's own file system, and told to nobody.

The public half is what other hosts are told. X25519 is computed here and not asked of the kernel,
for a plan needs the public key of a pair that is not made yet, and changes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel.wireguard import KEY_BYTES, raw_key, text_key

if TYPE_CHECKING:
    from nsprov.kernel.lab import Lab

FILE = "wireguard.json"
_PRIME = 2**255 - 19
_A24 = 121665


class Keys:
    """The pairs that this run has to do with; only one that is stored outlives it."""

    def __init__(self, lab: Lab) -> None:
        """Store whose they are; nothing is read or made."""
        self._lab = lab
        self._held: dict[str, bytes] = {}
        self._made = ""

    def public(self) -> str:
        """Give the public key of the stored pair, or else of one that is made now and held until it is stored.

        Raises:
            KernelError: what is stored is not ours, or damaged.

        """
        private = self._stored()
        if private:
            return self.hold(private)
        if not self._made:
            self._made = self.hold(clamped(os.urandom(KEY_BYTES)))
        return self._made

    def hold(self, private: bytes) -> str:
        """Keep a private key in memory, so that a run that fails can go back to it; give its public key."""
        public = text_key(public_key(private))
        self._held[public] = private
        return public

    def private(self, public: str) -> bytes | None:
        """Give the private key to a public one, if this host has it."""
        if public not in self._held:
            self.public()
        return self._held.get(public)

    def store(self, public: str) -> None:
        """Make a pair that is held the one that the lab has here, from now on."""
        self._lab.write(FILE, {"private": text_key(self._held[public])})

    def forget(self) -> None:
        """Remove what is stored; it stays held as long as this run lasts."""
        private = self._stored()
        if private:
            self.hold(private)
            self._lab.forget(FILE)

    def _stored(self) -> bytes:
        kept = self._lab.read(FILE)
        if not kept:
            return b""
        try:
            return raw_key(str(kept.get("private")))
        except ValueError as problem:
            hint = "remove the file: the next `nsprov up` makes another key, and tells the other hosts"
            summary = f'the key in "{self._lab.root}/{FILE}" is none'
            raise KernelError(Diagnostic(summary, detail=f"{problem}.", hint=hint), 0) from problem


def clamped(raw: bytes) -> bytes:
    """Make a private key of random bytes, as curve25519_generate_secret() does."""
    return bytes([raw[0] & 248]) + raw[1:31] + bytes([raw[31] & 127 | 64])


def public_key(private: bytes) -> bytes:
    """Give the public key to a private one: X25519 with the base point 9 (RFC 7748, section 6.1)."""
    return x25519(private, bytes([9]) + bytes(31))


def x25519(scalar: bytes, point: bytes) -> bytes:
    """Multiply a point by a scalar: the Montgomery ladder of RFC 7748, section 5.

    It takes a different time for different keys, which nobody can measure who could not read the key.
    """
    k = int.from_bytes(clamped(scalar), "little")
    u = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _PRIME, b * b % _PRIME, d * a % _PRIME, c * b % _PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, u * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + _A24 * e) % _PRIME
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(32, "little")
