"""What a node sees beside its network: host name, sysctls, resolver, names, files."""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.topology.addresses import parse_ip, text_of
from nsprov.topology.model import Dns, File
from nsprov.topology.positions import Flaw, Path, Problems, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.topology import spec as language

MAX_HOSTNAME = 64
"""__NEW_UTS_LEN."""

_HOSTNAME = re.compile(
    r"(?!.{254})[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_WORD = re.compile(r"[!-~]+")
_SYSCTL = re.compile(r"net(?:[./][A-Za-z0-9_:@-]+)+")
_MODE = re.compile(r"(?:0o?)?([0-7]{3,4})")


class Contents:
    """Reads what is in one node beside its network."""

    def __init__(self, name: str, spec: language.NodeSpec, problems: Problems) -> None:
        """Store the node's shape, and where to note problems."""
        self.spec = spec
        self.problems = problems
        self.name = name
        self.path: Path = ("nodes", name)

    def hostname(self) -> str:
        """Read the host name; it is the node's name when none is given."""
        given = self.spec.hostname
        if given is None:
            return self.name
        if len(given) > MAX_HOSTNAME:
            self.problems.add((*self.path, "hostname"), f"a host name of {len(given)} characters is too long", "use 64 at most")
        elif not _HOSTNAME.fullmatch(given):
            hint = "use letters, digits and dashes, in parts of 63 joined by dots"
            self.problems.add((*self.path, "hostname"), f"{shown(given)} is not a host name", hint)
        return given

    def sysctls(self) -> dict[str, str]:
        """Read the sysctls, which must be those that a network namespace has of its own."""
        result = {}
        for key, value in (self.spec.sysctls or {}).items():
            path = (*self.path, "sysctls", key)
            text = str(value)
            if not key.startswith(("net.", "net/")):
                detail = "A node cannot have a value of its own for it."
                hint = 'remove it, or use a key that begins with "net."'
                self.problems.add(path, f"sysctl {shown(key)} is global to the host", hint, detail, key=True)
            elif not _SYSCTL.fullmatch(key):
                self.problems.add(path, f"{shown(key)} is not a sysctl", 'write it as in "net.ipv4.ip_forward"', key=True)
            elif "\n" in text or not text.strip():
                self.problems.add(path, f"sysctl {shown(key)} needs a value of one line", "write a number or a word")
            result[key] = text
        return result

    def dns(self) -> Dns | None:
        """Read the resolver's settings; a line break would add lines to resolv.conf."""
        given = self.spec.dns
        if given is None:
            return None
        path = (*self.path, "dns")
        servers = []
        for place, text in enumerate(given.nameservers or ()):
            address = self._ip(text, (*path, "nameservers", place))
            servers += [address] if address else []
        for word in ("search", "options"):
            for place, text in enumerate(getattr(given, word) or ()):
                if not _WORD.fullmatch(text):
                    self.problems.add((*path, word, place), f"{shown(text)} is not one word", "write one item per word")
        return Dns(nameservers=tuple(servers), search=tuple(given.search or ()), options=tuple(given.options or ()))

    def _ip(self, text: str, path: Path) -> str | None:
        try:
            return text_of(*parse_ip(text))
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None

    def hosts(self) -> dict[str, str]:
        """Read the extra names."""
        result = {}
        for name, text in (self.spec.hosts or {}).items():
            path = (*self.path, "hosts", name)
            if not _HOSTNAME.fullmatch(name):
                self.problems.add(path, f"{shown(name)} is not a host name", "use letters, digits, dashes and dots", key=True)
            address = self._ip(text, path)
            if address:
                result[name] = address
        return result

    def files(self, variables: Mapping[str, Any]) -> dict[str, File]:
        """Read the files, templates rendered with a node's variables."""
        result = {}
        for target, given in (self.spec.files or {}).items():
            path = (*self.path, "files", target)
            if not target.startswith("/") or posixpath.normpath(target) != target or target == "/" or target[:2] == "//":
                fixed = posixpath.normpath("/" + target.lstrip("/"))
                hint = f'use "{fixed}"' if fixed != "/" else "name a file"
                self.problems.add(path, f"{shown(target)} is not an absolute, plain path", hint, key=True)
            content = self._content(given, path, variables)
            result[target] = File(content=content, mode=self._mode(given.mode, (*path, "mode")))
        return result

    def _mode(self, text: str | None, path: Path) -> int:
        if text is None:
            return 0o644
        match = _MODE.fullmatch(text)
        if match is None:
            self.problems.add(path, f"{shown(text)} is not a file mode", 'use octal digits in quotes, such as "0640"')
        return int(match.group(1), 8) if match else 0o644

    def _content(self, given: language.FileSpec, path: Path, variables: Mapping[str, Any]) -> str:
        words = [word for word in ("content", "template", "source") if getattr(given, word) is not None]
        if not words and self.problems.touched(path):
            return ""
        if len(words) != 1:
            summary = "a file needs one content" if not words else f'"{words[0]}" and "{words[1]}" are both given'
            self.problems.add(path, summary, 'give one of "content", "template" and "source"', key=True)
            return ""
        if given.content is not None:
            return given.content
        where = (*path, words[0])
        return self._rendered(given.template, where, variables) if given.template is not None else self._copied(given, where)

    def _rendered(self, name: str, path: Path, variables: Mapping[str, Any]) -> str:
        # Imported where the first template is met: a topology without one does not load jinja2.
        from nsprov.render import find_template, render_file  # noqa: PLC0415

        found = find_template(name, os.path.dirname(self.problems.source.path))
        if found is None:
            hint = "put it beside the topology file"
            self.problems.add(path, f"there is no template {shown(name)}", hint)
            return ""
        try:
            return render_file(found, variables)
        except InputError as error:
            told = error.diagnostics[0]
            detail = f"It happens at {told.where}. {told.detail}".strip()
            self.problems.add(path, told.summary, told.hint, detail)
            return ""

    def _copied(self, given: language.FileSpec, path: Path) -> str:
        name = given.source or ""
        try:
            with open(os.path.join(os.path.dirname(self.problems.source.path), name), encoding="utf-8", newline="") as stream:
                return stream.read()
        except UnicodeDecodeError:
            self.problems.add(path, f"{shown(name)} is not UTF-8 text", "use a text file")
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            self.problems.add(
                path, f"{shown(name)} cannot be read", "put it beside the topology file", f"The system says: {reason}."
            )
        return ""


def duplicates(values: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Give every key whose value an earlier key has too, with that earlier key."""
    first: dict[str, str] = {}
    return [(key, first[value]) for key, value in values.items() if first.setdefault(value, key) != key]
