"""Read what Ansible Vault has encrypted: values and whole files, in its formats 1.1 and 1.2 with AES256.

The key of 80 bytes (cipher, HMAC, counter) is derived from the password and a salt by PBKDF2 with SHA-256, 10,000 rounds; the
text is AES in counter mode, padded (PKCS #7), and its HMAC is checked before anything is decrypted, as Ansible itself does.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "$ANSIBLE_VAULT;"
_ROUNDS, _KEY, _COUNTER = 10_000, 32, 16
_VERSIONS = ("1.1", "1.2")
_CIPHER = "AES256"


class Password(NamedTuple):
    """A password by the label that texts are encrypted for; every one is tried, those of the right label first."""

    label: str
    text: bytes

    def __repr__(self) -> str:
        """Show the label alone."""
        return f"Password({self.label!r}, ***)"


class _Sealed(NamedTuple):
    """What an encrypted text is made of."""

    label: str
    salt: bytes
    seal: bytes
    content: bytes


def is_vault(text: str | bytes) -> bool:
    """Tell whether a text is one that Ansible Vault has encrypted."""
    return text.startswith(HEADER) if isinstance(text, str) else text.startswith(HEADER.encode())


def decrypt(text: str, passwords: Sequence[Password], where: str = "") -> str:
    """Give what was encrypted; it is as secret as it was.

    Raises:
        InputError: the text is damaged or of another format, there is no password, none fits, or it is no UTF-8.

    """
    sealed = _parse(text, where)
    if not passwords:
        hint = "give --vault-password-file FILE, or --ask-vault-pass"
        raise InputError(Diagnostic("the text is encrypted and no password is given", where, hint=hint))
    for password in sorted(passwords, key=lambda known: known.label != sealed.label):
        opened = _open(sealed, password.text)
        if opened is not None:
            try:
                return opened.decode()
            except UnicodeDecodeError as problem:
                raise InputError(Diagnostic("the encrypted text is not UTF-8", where)) from problem
    wanted = f'It is for the password "{sealed.label}".' if sealed.label else ""
    hint = "give the password that it was encrypted with"
    raise InputError(Diagnostic("no vault password fits the encrypted text", where, wanted, hint))


def _parse(text: str, where: str) -> _Sealed:
    head, _, body = text.strip().partition("\n")
    fields = head.strip().split(";")
    if not is_vault(head) or len(fields) < len(_VERSIONS) + 1:
        raise InputError(Diagnostic("the text is not one that Ansible Vault has encrypted", where))
    version, cipher, label = fields[1], fields[2], fields[3] if len(fields) > len(_VERSIONS) + 1 else ""
    if version not in _VERSIONS or cipher != _CIPHER:
        hint = f"encrypt it anew: nsprov reads {' and '.join(_VERSIONS)} with {_CIPHER}"
        raise InputError(Diagnostic(f"vault format {version} with {cipher} is not supported"[:60], where, hint=hint))
    try:
        parts = binascii.unhexlify("".join(body.split())).split(b"\n", 2)
        salt, seal, content = (binascii.unhexlify(part) for part in parts)
    except ValueError as problem:
        hint = "copy it whole, with all its lines"
        raise InputError(Diagnostic("the encrypted text is damaged", where, str(problem), hint)) from problem
    return _Sealed(label, salt, seal, content)


def _open(sealed: _Sealed, password: bytes) -> bytes | None:
    """Give the content, or `None` if the password is another one."""
    derived = hashlib.pbkdf2_hmac("sha256", password, sealed.salt, _ROUNDS, 2 * _KEY + _COUNTER)
    key, seal_key, counter = derived[:_KEY], derived[_KEY : 2 * _KEY], derived[2 * _KEY :]
    if not hmac.compare_digest(hmac.digest(seal_key, sealed.content, "sha256"), sealed.seal):
        return None
    # Start-up time: only who has something encrypted pays for the import.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    decryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
    padded = decryptor.update(sealed.content) + decryptor.finalize()
    return padded[: -padded[-1]] if padded else padded
