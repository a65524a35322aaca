"""The private keys in this machine's files, each read once for all hosts, and opened once if it is encrypted."""

from __future__ import annotations

import base64
import contextlib
import copy
import os
import threading
from typing import TYPE_CHECKING

import paramiko
from paramiko.pkey import PublicBlob, UnknownKeyType

from nsprov.transport import certificates

if TYPE_CHECKING:
    from nsprov.transport.certificates import Certificate

_ENCRYPTED = "is encrypted"
_MAGIC = b"openssh-key-v1\0"
_LIMIT = 1 << 18
"""How many bytes of a key file are read; a key is far smaller."""


class Keyring:
    """Keys by their files; may be asked by many threads at a time."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._lock = threading.Lock()
        self._keys: dict[str, paramiko.PKey] = {}
        self._problems: dict[str, str] = {}
        self._tried: set[tuple[str, str]] = set()

    def key(self, path: str) -> paramiko.PKey | None:
        """Give the key of a file; `None` when there is none, or it cannot be used: then `problem` says why."""
        with self._lock:
            if path not in self._keys and path not in self._problems:
                self._problems[path] = ""
                if os.path.isfile(path) and not path.endswith(".pub"):
                    self._load(path, None)
            return self._keys.get(path)

    def problem(self, path: str) -> str:
        """Say why a file's key cannot be used; nothing when it can, or when there is none."""
        self.key(path)
        return self._problems.get(path, "")

    def locked(self, path: str) -> bool:
        """Tell whether a file's key is encrypted and was not opened."""
        return self.problem(path).startswith(_ENCRYPTED)

    def unlock(self, path: str, passphrase: str, whose: str) -> bool:
        """Try to open an encrypted key; `whose` says what passphrase that is, for the hosts that would have needed it."""
        with self._lock:
            if path not in self._keys and (path, passphrase) not in self._tried:
                self._tried.add((path, passphrase))  # deriving the key takes a tenth of a second on purpose
                self._load(path, passphrase)
                if path not in self._keys:
                    self._problems[path] = f"{_ENCRYPTED}, and {whose} does not open it"
            return path in self._keys

    def _load(self, path: str, passphrase: str | None) -> None:
        try:
            # the cryptography package below wants bytes, whatever paramiko's annotation says
            key = paramiko.PKey.from_path(path, None if passphrase is None else passphrase.encode())  # type: ignore[arg-type]
        except (ValueError, TypeError, OSError, paramiko.SSHException, UnknownKeyType) as problem:
            # TypeError is how cryptography says that a key is encrypted
            encrypted = isinstance(problem, (TypeError, paramiko.PasswordRequiredException))
            self._problems[path] = _ENCRYPTED if encrypted else _reason(problem)
            return
        key.public_blob = None  # a certificate beside the key is offered before it, not in its place
        self._keys[path] = key
        self._problems[path] = ""


def _reason(problem: Exception) -> str:
    if isinstance(problem, UnknownKeyType):
        return "is of a type that is not known"
    return f"cannot be read ({problem})" if str(problem) else "cannot be read"


def certified(key: paramiko.PKey, blob: bytes) -> paramiko.PKey:
    """Give a key that shows a certificate for its public half; the given one stays as it is."""
    if isinstance(key, paramiko.AgentKey):
        made: paramiko.PKey = paramiko.AgentKey(key.agent, key.blob, key.comment)
    else:
        made = copy.copy(key)
    made.public_blob = PublicBlob(paramiko.Message(blob).get_text(), blob)
    return made


def certificate(path: str) -> tuple[bytes, Certificate] | None:
    """Read a certificate's file; `None` when it holds none."""
    blob = public_line(path)
    found = certificates.parse(blob) if blob else None
    return (blob, found) if found else None


def public_line(path: str) -> bytes:
    """Read the blob of a file in the form of a public key; nothing when it holds none."""
    try:
        with open(path, encoding="utf-8") as source:
            return base64.b64decode(source.read(_LIMIT).split()[1], validate=True)
    except (OSError, ValueError, IndexError):
        return b""  # an identity often has no .pub file, and need not


def public_half(path: str) -> bytes:
    """Give the public half of a key's file: from the .pub file, or from its own head, which is not encrypted."""
    return public_line(path) or public_line(path + ".pub") or _head(path)


def _head(path: str) -> bytes:
    with contextlib.suppress(OSError, ValueError, IndexError, paramiko.SSHException), open(path, encoding="ascii") as source:
        lines = source.read(_LIMIT).split("\n")
        body = base64.b64decode("".join(lines[1 : lines.index("-----END OPENSSH PRIVATE KEY-----")]))
        if body.startswith(_MAGIC):
            message = paramiko.Message(body[len(_MAGIC) :])
            for _ in range(3):  # the cipher, and how its key is derived
                message.get_string()
            message.get_int()  # how many keys: always one
            return message.get_string()
    return b""
