"""What variables say of how to reach a host, checked and typed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nsprov.errors import InputError
from nsprov.inventory import words
from nsprov.inventory.merging import merged
from nsprov.inventory.model import LOCALHOST, Host, Secret
from nsprov.inventory.places import Complaints
from nsprov.inventory.rendering import Rendered
from nsprov.inventory.unsealing import HINT
from nsprov.topology.positions import shown
from nsprov.topology.scalars import written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.inventory.tree import Variables

T = TypeVar("T")

_CONNECTIONS: Mapping[str, Literal["local", "ssh"]] = MappingProxyType(
    {"local": "local", **dict.fromkeys(("ssh", "smart", "paramiko", "paramiko_ssh"), "ssh")}
)
_METHODS: Mapping[str, Literal["sudo", "su", "doas"]] = MappingProxyType({"sudo": "sudo", "su": "su", "doas": "doas"})
_BUILTIN = "ansible.builtin."
_COMMUNITY = "community.general."
_TRUE = frozenset(("y", "yes", "on", "1", "true", "t", "1.0"))
_FALSE = frozenset(("n", "no", "off", "0", "false", "f", "0.0"))
_LARGEST_PORT = 65535
_SECRETS = frozenset(name for what in ("password", "become_password", "passphrase") for name in words.NAMES[what])


def make(name: str, layers: Sequence[Variables], known: Callable[[], Mapping[str, Any]]) -> Host:
    """Make a host of what is said of it; `known` gives what templates may ask for besides.

    Raises:
        InputError: everything that is wrong with those that say how to reach it.

    """
    given = merged(layers)
    reader = _Reader(name, layers, given, Rendered(given, known))
    reader.refuse()
    local = name == LOCALHOST and not reader.has("address")
    become = reader.value("become", _boolean, default=False)
    host = Host(
        name=name,
        address=reader.value("address", _word, default=name),
        port=reader.value("port", _port, default=None),
        user=reader.value("user", _word, default=None),
        connection=reader.value("connection", _connection, default="local" if local else "ssh"),
        password=reader.value("password", _secret, default=None),
        become=become,
        become_method=reader.value("become_method", _method, default="sudo") if become else "sudo",
        become_user=reader.value("become_user", _root, default="root") if become else "root",
        become_password=reader.value("become_password", _secret, default=None),
        python=reader.value("python", _interpreter, default=None),
        private_key=reader.value("private_key", _text, default=None),
        passphrase=reader.value("passphrase", _secret, default=None),
        underlay=reader.value("underlay", _word, default=None),
        weight=reader.value("weight", _weight, default=1),
        variables=MappingProxyType({word: _hidden(word, value) for word, value in given.items()}),
    )
    reader.complaints.settle()
    return host


def _hidden(name: str, value: Any) -> Any:
    return Secret(str(value)) if name in _SECRETS and value is not None else value


class _Wrong(ValueError):
    """A value is not what is asked for: what it must be, and what to do."""

    def __init__(self, summary: str, hint: str) -> None:
        """Store both."""
        super().__init__(summary)
        self.summary = summary
        self.hint = hint


class _Reader:
    """Reads the settings of one host, and notes what is wrong where it was said."""

    def __init__(self, name: str, layers: Sequence[Variables], given: Mapping[str, Any], rendered: Rendered) -> None:
        """Store what is said of the host."""
        self.name = name
        self.layers = layers
        self.given = given
        self.rendered = rendered
        self.complaints = Complaints()

    def refuse(self) -> None:
        """Note what is encrypted as a whole, and what would change how the host is reached and cannot be done."""
        for layer in self.layers:
            if layer.sealed is not None:
                self.complaints.add(layer.sealed, "the file is encrypted (Ansible Vault)", HINT)
        for word, hint in words.REFUSED.items():
            if self.given.get(word) not in (None, ""):
                self._note(word, f"{shown(word)} cannot be used", hint)

    def has(self, what: str) -> bool:
        """Tell whether something is set."""
        return any(self.given.get(word) is not None for word in words.NAMES[what])

    def value(self, what: str, read: Callable[[str, Any], T], *, default: T) -> T:
        """Give a setting; the last of its names counts."""
        word = next((word for word in reversed(words.NAMES[what]) if self.given.get(word) is not None), None)
        if word is None:
            return default
        try:
            found = self.rendered[word]
            return default if found is None else read(word, found)
        except _Wrong as wrong:
            self._note(word, wrong.summary, wrong.hint)
        except InputError as problem:
            for one in problem.diagnostics:
                keep = one.hint.startswith("use ") or one.hint == HINT or "-e " not in one.hint
                hint = one.hint if keep else "set it for this host or one of its groups"
                self._note(word, one.summary, hint, one.detail)
        return default

    def _note(self, word: str, summary: str, hint: str, detail: str = "") -> None:
        place = next(layer.places[word] for layer in reversed(self.layers) if word in layer.places)
        self.complaints.add(place, summary, hint, f'{detail} It is said of host "{self.name}".'.strip())


def _text(word: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise _Wrong(f"{shown(word)} must be a text, not {shown(value)}", "write one value")
    return str(written(value))


def _word(word: str, value: Any) -> str:
    """Read what becomes an argument of ssh: it must not be one of its options."""
    text = _text(word, value).strip()
    if not text or text.startswith("-") or not text.isprintable():
        raise _Wrong(f"{shown(word)} cannot be {shown(text)}", "write a name or an address")
    return text


def _secret(word: str, value: Any) -> Secret:
    return Secret(_text(word, value))


def _whole(word: str, value: Any) -> int:
    text = _text(word, value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise _Wrong(f"{shown(word)} must be a whole number, not {shown(value)}", "correct it")
    return int(text)


def _port(word: str, value: Any) -> int:
    port = _whole(word, value)
    if not 0 < port <= _LARGEST_PORT:
        raise _Wrong(f"{port} is not a port", "use a number from 1 to 65535")
    return port


def _weight(word: str, value: Any) -> int:
    weight = _whole(word, value)
    if not weight:
        raise _Wrong(f"{shown(word)} must be 1 or more", "leave the host out of the pattern to keep nodes off it")
    return weight


def _boolean(word: str, value: Any) -> bool:
    text = _text(word, value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise _Wrong(f"{shown(word)} must be true or false, not {shown(value)}", "correct it")
    return text in _TRUE


def _connection(word: str, value: Any) -> Literal["local", "ssh"]:
    text = _text(word, value)
    found = _CONNECTIONS.get(text.removeprefix(_BUILTIN))
    if found is None:
        raise _Wrong(f"connection {shown(text)} is not supported", 'use "ssh" or "local"')
    return found


def _method(word: str, value: Any) -> Literal["sudo", "su", "doas"]:
    text = _text(word, value)
    found = _METHODS.get(text.removeprefix(_BUILTIN).removeprefix(_COMMUNITY))
    if found is None:
        raise _Wrong(f"the become method {shown(text)} is not supported", 'use "sudo", "su" or "doas"')
    return found


def _root(word: str, value: Any) -> str:
    text = _text(word, value)
    if text != "root":
        raise _Wrong(f"a host must be entered as root, not as {shown(text)}", f'remove {word}, or make it "root"')
    return text


def _interpreter(word: str, value: Any) -> str | None:
    """Give the path of a Python; Ansible's ways to look for one are left to our own."""
    text = _text(word, value)
    return None if text.startswith("auto") else text
