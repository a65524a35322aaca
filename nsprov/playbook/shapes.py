"""What the words of plays, blocks and tasks may be: their types, and the Jinja in them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nsprov.playbook import modules
from nsprov.playbook.model import RAW
from nsprov.topology.positions import closest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nsprov.playbook.files import File
    from nsprov.playbook.grammar import Grammar
    from nsprov.topology.positions import Path

CONDITIONS = frozenset({"changed_when", "failed_when", "until", "when"})
_BARE = MappingProxyType({"assert": ("that",), "debug": ("var",)})
"""Arguments that are expressions without braces."""

_BOOLEANS = frozenset({"yes", "no", "on", "off", "true", "false", "y", "n", "t", "f", "1", "0"})


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _boolean(value: Any) -> bool:
    return value is None or value in (True, False) or (isinstance(value, str) and value.lower() in _BOOLEANS)


def _text(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool))


def _number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return value is None or float(str(value).rstrip("%")) >= 0
    except ValueError:
        return False


def _texts(value: Any) -> bool:
    return _text(value) or (isinstance(value, list) and all(map(_text, value)))


def _files(value: Any) -> bool:
    return _text(value) or (isinstance(value, list) and all(map(_texts, value)))


def _sizes(value: Any) -> bool:
    return all(_number(one) or _is_template(one) for one in value) if isinstance(value, list) else _number(value)


def _mappings(value: Any) -> bool:
    return value is None or all(
        isinstance(one, dict) or _is_template(one) for one in (value if isinstance(value, list) else [value])
    )


_KINDS: tuple[tuple[str, Callable[[Any], bool], str, str], ...] = (
    (
        "any_errors_fatal become check_mode diff gather_facts ignore_errors ignore_unreachable no_log run_once",
        _boolean,
        "true or false",
        "write true, false, or an expression in quotes",
    ),
    ("become_user delegate_to name register", _text, "a text", "write one word"),
    ("delay max_fail_percentage retries", _number, "a number", "write a number, or an expression in quotes"),
    ("hosts listen notify tags", _texts, "a word or a list of words", 'write "[one, two]"'),
    ("vars_files", _files, "a list of files", 'start each with "- "'),
    ("serial", _sizes, "a number, a share, or a list of them", "write a number of hosts, or a share as 25%"),
    ("environment", _mappings, "a mapping", 'write "NAME: value" lines below it'),
    ("loop", lambda value: isinstance(value, list), "a list", "write its items below it, or an expression in quotes"),
)
_CHECKS = MappingProxyType({word: kind[1:] for kind in _KINDS for word in kind[0].split()})
_CANNOT_BE_FILLED_IN = ("register", "tags", "listen")


def check(file: File, grammar: Grammar, item: Mapping[str, Any], path: Path) -> None:
    """Note what is wrong with the words of a play, a block or a task, but for what is read elsewhere: variables, sections."""
    for word, given in item.items():
        here = (*path, word)
        if word in CONDITIONS:
            grammar.conditions(file.problems, given, here)
        elif word == "vars":
            grammar.templates(file.problems, given, here)
        elif word in _CHECKS:
            holds, what, hint = _CHECKS[word]
            if _is_template(given) and word not in _CANNOT_BE_FILLED_IN:
                grammar.templates(file.problems, given, here)
            elif not holds(given):
                file.problems.add(here, f"{shown(word)} must be {what}", hint, f"It is {shown(given)}.")
            else:
                grammar.templates(file.problems, given, here)


def arguments(file: File, grammar: Grammar, module: str, given: Any, path: Path) -> None:
    """Note what is wrong with the Jinja of a task's arguments; some of them are expressions as they stand."""
    if not isinstance(given, dict):
        grammar.templates(file.problems, given, path)
        return
    for name, value in given.items():
        is_bare = name in _BARE.get(module, ()) and not (module == "debug" and _is_template(value))
        look = grammar.conditions if is_bare else grammar.templates
        look(file.problems, value, (*path, name))


def meta(args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Say what is wrong with the word of a `meta` task: what, why, what to do."""
    word = args.get(RAW, args.get("action"))
    if word is None or word in modules.META:
        return
    if word in modules.META_OF_ANSIBLE:
        yield f"meta: {word} is not supported", "Ansible has it; nsprov has not.", modules.META_OF_ANSIBLE[word]
    else:
        hint = closest(str(word), sorted(modules.META)) or f"use one of {', '.join(sorted(modules.META))}"
        yield f"meta has no word {shown(word)}", "", hint
