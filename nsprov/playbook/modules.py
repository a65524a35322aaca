"""The modules that a task can name, and their arguments: actions, resources by the names of their kinds, and `topology`."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from nsprov.kinds import SCHEMAS
from nsprov.plan.resource import schema
from nsprov.playbook.model import RAW
from nsprov.topology.positions import Flaw, closest, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

FREE = frozenset({"command", "shell", "script"})
"""Modules whose one argument is a text, with a few `key=value` in front of it or behind."""

_FREE_KEYS = frozenset({"chdir", "creates", "executable", "removes", "stdin", "stdin_add_newline", "strip_empty_ends"})
_PREFIXES = ("ansible.builtin.", "ansible.legacy.", "nsprov.")
_FILE_TERMS = ("mode", "owner", "group")


@dataclass(frozen=True)
class Module:
    """What a module takes: which arguments, which of them it must have; `open_ended` takes any."""

    name: str
    takes: frozenset[str]
    needs: frozenset[str] = frozenset()
    raw: str = ""
    open_ended: bool = False


def _module(name: str, takes: str, needs: str = "", raw: str = "", *, open_ended: bool = False) -> Module:
    return Module(name, frozenset(takes.split() + needs.split()), frozenset(needs.split()), raw, open_ended)


_ATTRIBUTES = "follow force validate mode owner group"
_COMMAND = "argv chdir cmd creates removes stdin stdin_add_newline strip_empty_ends"

ACTIONS: Mapping[str, Module] = {
    module.name: module
    for module in (
        _module("command", _COMMAND, raw="cmd"),
        _module("shell", f"{_COMMAND} executable", raw="cmd"),
        _module("script", "chdir cmd creates executable removes", raw="cmd"),
        _module("copy", "src content backup follow force validate remote_src directory_mode mode owner group", "dest"),
        _module("template", f"backup {_ATTRIBUTES} newline_sequence trim_blocks lstrip_blocks", "src dest"),
        _module("fetch", "flat fail_on_missing validate_checksum", "src dest"),
        _module("wait_for", "host port path state timeout delay sleep connect_timeout search_regex msg"),
        _module("package", "state update_cache use", "name"),
        _module("service", "state enabled", "name"),
        _module("ping", "data"),
        _module("setup", ""),
        _module("stat", "follow get_checksum checksum_algorithm", "path"),
        _module("slurp", "", "src"),
        _module("labs", ""),
        _module("doctor", ""),
        _module("audit", "", "lab"),
        _module("teardown", "", "lab"),
        _module("supervise", "name state signal timeout", "lab"),
    )
}
"""What a host does when it is asked, each time."""

CONTROLLER: Mapping[str, Module] = {
    module.name: module
    for module in (
        _module("assert", "fail_msg success_msg msg quiet", "that"),
        _module("debug", "msg var verbosity"),
        _module("fail", "msg"),
        _module("set_fact", "cacheable", open_ended=True),
        _module("include_tasks", "", "file", raw="file"),
        _module("include_vars", "name", "file", raw="file"),
        _module("meta", "", "action", raw="action"),
        _module("pause", "seconds minutes prompt"),
        _module("group_by", "parents", "key"),
    )
}
"""What is done without a host."""

_WORKLOAD = (
    "node name command type env env_file cwd user groups umask restart rlimits capabilities no_new_privileges seccomp nice "
    "stop_signal grace ready health log"
)
META = frozenset({"clear_host_errors", "end_batch", "end_host", "end_play", "flush_handlers", "noop"})
META_OF_ANSIBLE: Mapping[str, str] = {
    "clear_facts": "gather them anew with `setup`",
    "end_role": "use `when` on a block: there are no roles",
    "refresh_inventory": "run nsprov again: an inventory is read once",
    "reset_connection": "leave it out: there is one connection, and each task is a process of its own",
}
"""Words of `meta` that Ansible has besides, with what to do."""

TOPOLOGY = _module("topology", "file state inline name variables", raw="file")
STATIC = frozenset({"import_tasks", "import_playbook"})
_ONE_OF: Mapping[str, tuple[str, ...]] = {"copy": ("src", "content")}
_NOT_BOTH: Mapping[str, tuple[str, str]] = {"copy": ("src", "content"), "debug": ("msg", "var")}
LOOPS: Mapping[str, str] = {
    "with_items": '`loop: "{{ list | flatten(1) }}"`',
    "with_list": '`loop: "{{ list }}"`',
    "with_dict": '`loop: "{{ mapping | dict2items }}"`',
    "with_sequence": '`loop: "{{ range(1, 5) | list }}"`',
    "with_together": '`loop: "{{ one | zip(other) | list }}"`',
    "with_nested": '`loop: "{{ one | product(other) | list }}"`',
    "with_subelements": "`loop: \"{{ list | subelements('key') }}\"`",
    "with_fileglob": "`loop:` with the names",
}
"""The loops of old, and how they are written now."""


INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("apt", "dnf", "yum", "apk", "pacman", "zypper"), "use `package`, which asks the host's own tool"),
    **dict.fromkeys(("systemd", "systemd_service", "sysvinit"), "use `service`"),
    **dict.fromkeys(("lineinfile", "blockinfile", "replace"), "use `template` or `copy` for the whole file"),
    **dict.fromkeys(("include", "include_role", "import_role"), "use `include_tasks` or `import_tasks`"),
    **dict.fromkeys(("raw", "expect"), "use `command` or `shell`"),
    "add_host": "write the host into the inventory",
    "async_status": "use a `workload:`, which stays and is supervised",
    "get_url": "use `command: curl ...` with `creates`",
    "git": "use `command: git clone ...` with `creates`",
    "gather_facts": "use `setup`",
    "set_stats": "use `set_fact`",
    "uri": "use `command: curl ...`, or `wait_for`",
}
"""Modules that Ansible has and nsprov has not, with what to do."""


@cache
def resource(kind: str) -> Module:
    """Give the module of a kind: its fields, and whether it is to be there; a workload has the words of a topology."""
    fields = _WORKLOAD.split() if kind == "workload" else schema(SCHEMAS[kind])
    return Module(kind, frozenset(fields) | {"state", "lab"})


def names() -> frozenset[str]:
    """Give every module's name."""
    return frozenset({*ACTIONS, *CONTROLLER, *SCHEMAS, TOPOLOGY.name, *STATIC})


def known(word: str) -> str:
    """Give a module's own name for a word of a task; empty if it is none."""
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return word if word in names() else ""


def find(name: str) -> Module:
    """Give a module by its own name."""
    return ACTIONS.get(name) or CONTROLLER.get(name) or (TOPOLOGY if name == TOPOLOGY.name else resource(name))


def arguments(name: str, given: Any) -> dict[str, Any]:
    """Read what stands behind a module's name.

    Raises:
        Flaw: it is neither a mapping nor a text that the module could take.

    """
    if given is None:
        return {}
    if isinstance(given, dict):
        return dict(given)
    if not isinstance(given, str):
        raise Flaw(f'"{name}" takes a mapping of arguments', f"write them indented below `{name}:`")
    return _free(given) if name in FREE else _pairs(name, given)


def _free(text: str) -> dict[str, Any]:
    """Split a command from the `key=value` that Ansible allows beside it."""
    found: dict[str, Any] = {}
    words = []
    for word in text.split(" "):
        key, equals, value = word.partition("=")
        if equals and key in _FREE_KEYS:
            found[key] = value.strip("'\"")
        else:
            words.append(word)
    rest = " ".join(words).strip()
    return {**found, RAW: rest} if rest else found


def _pairs(name: str, text: str) -> dict[str, Any]:
    """Read `key=value key=value`, or the one argument that the module takes without a name."""
    module = find(name) if name not in STATIC else Module(name, frozenset(), raw="file")
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise Flaw(f'the arguments of "{name}" are not closed', "close the quotes", str(problem)) from None
    pairs = [word.partition("=") for word in words if "=" in word and word.partition("=")[0].isidentifier()]
    if len(pairs) == len(words):
        return {key: value for key, _, value in pairs}
    if module.raw:
        return {RAW: text, **{key: value for key, _, value in pairs if key in module.takes}}
    raise Flaw(f'"{name}" takes arguments by name', f"write them indented below `{name}:`")


def check(name: str, given: Mapping[str, Any]) -> list[tuple[str, Flaw]]:
    """Say which arguments are wrong, each with its name, and empty for one that is missing."""
    module = find(name) if name not in STATIC else Module(name, frozenset({"file"}), frozenset({"file"}), raw="file")
    found = []
    for key in given:
        if key not in module.takes and key != RAW and not module.open_ended:
            hint = closest(key, sorted(module.takes)) or f"it takes {', '.join(sorted(module.takes)) or 'nothing'}"
            found.append((key, Flaw(f'"{name}" has no argument {shown(key)}', hint)))
    have = given.keys() | ({module.raw} if RAW in given else set())
    return [*found, *(("", flaw) for flaw in _amiss(module, given, have))]


def _amiss(module: Module, given: Mapping[str, Any], have: Collection[str]) -> Iterator[Flaw]:
    """Say what is missing, or there twice."""
    name = module.name
    for missing in sorted(_needs(module, given) - set(have)):
        yield Flaw(f'"{name}" needs {shown(missing)}', f"write `{missing}:` below it")
    if name in FREE and not {"cmd", "argv"} & set(have):
        yield Flaw(f'"{name}" has nothing to run', "write the command behind it")
    if name in _ONE_OF and not set(_ONE_OF[name]) & set(have):
        yield Flaw(f'"{name}" needs {" or ".join(map(shown, _ONE_OF[name]))}', "say what to put there")
    if set(_NOT_BOTH.get(name, "-")) <= set(have):
        yield Flaw(f'"{name}" takes {" or ".join(map(shown, _NOT_BOTH[name]))}, not both', "remove one of them")
    if name == "set_fact" and not have:
        yield Flaw('"set_fact" sets nothing', 'write "name: value" lines below it')


def _needs(module: Module, given: Mapping[str, Any]) -> frozenset[str]:
    """Give the arguments that must be there; for what is to go its name is enough, which its kind knows."""
    state = str(given.get("state", ""))
    if module.name not in SCHEMAS or state == "absent" or "{{" in state:
        return module.needs
    if module.name == "netns":
        return frozenset() if "node" in given else frozenset({"name"})
    required = {name for name, field in schema(SCHEMAS[module.name]).items() if field.default is MISSING}
    return frozenset(required - {"node", "peer_node"})
