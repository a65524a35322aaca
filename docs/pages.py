"""Make the reference page of each kind from its module's docstring and its fields: pure, the same text every time."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsprov.kinds import KINDS
from nsprov.plan.resource import Resource

if TYPE_CHECKING:
    from dataclasses import Field

FOLDER = Path(__file__).resolve().parent / "kinds"
ROLES = {"identity": "part of the name", "replace": "replaces it", "secret": "in place; never shown", None: "in place"}
HEAD = "<!-- Made by scripts/docs from {source}. Edit that file. -->\n\n"


def pages() -> dict[Path, str]:
    """Give every generated page: its path and its text."""
    found = {FOLDER / f"{kind.NAME}.md": page(kind) for kind in KINDS}
    found[FOLDER / "README.md"] = overview()
    return found


def overview() -> str:
    """List the kinds in the order in which those of one level are acted on."""
    rows = "".join(f"| [`{kind.NAME}`]({kind.NAME}.md) | {_first(kind)} |\n" for kind in KINDS)
    text = "A topology is resolved into resources of these kinds. What a plan lists are such resources.\n\n"
    return f"{HEAD.format(source='nsprov/kinds')}# Kinds\n\n{text}| kind | what it is |\n|---|---|\n{rows}"


def page(kind: Any) -> str:
    """Write one kind's page: what it is, an example, its fields, what it stands on."""
    source = f"nsprov/kinds/{kind.NAME}.py"
    doc = _with_yaml(inspect.getdoc(kind) or "")
    rows = "".join(_row(field) for field in fields(kind.SCHEMA))
    table = f"| field | type | default | a change of it |\n|---|---|---|---|\n{rows}"
    about = inspect.getdoc(kind.SCHEMA) or ""
    verbs = "".join(f"| {verb} | {_says(getattr(kind, verb))} |\n" for verb in _VERBS)
    edges = "".join(
        f"| {word} | {_says(getattr(kind.SCHEMA, name))} |\n"
        for word, name in _EDGES
        if getattr(kind.SCHEMA, name) is not getattr(Resource, name)
    )
    return (
        f"{HEAD.format(source=source)}# {kind.NAME}\n\n{doc}\n\n## Fields\n\n{about}\n\n{table}\n"
        f"## What it has to do with others\n\n| | |\n|---|---|\n{edges}\n## What is done\n\n| | |\n|---|---|\n{verbs}"
    )


_VERBS = ("observe", "obstacles", "create", "update", "delete")
_EDGES = (("name", "ref"), ("provides", "provides"), ("needs", "needs"), ("stands on", "stands_on"), ("dies with", "dies_with"))


def _first(kind: Any) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _says(function: Any) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()).replace("|", "\\|")


def _row(field: Field[Any]) -> str:
    kind = str(field.type).replace("|", "\\|")
    default = "required" if field.default is MISSING else "not managed" if field.default is None else _default(field)
    return f"| `{field.name}` | `{kind}` | {default} | {ROLES[field.metadata.get('role')]} |\n"


def _default(field: Field[Any]) -> str:
    value = f"0{field.default:o}" if field.name == "mode" else repr(field.default).replace("'", '"')
    return f"`{value}`"


def _with_yaml(doc: str) -> str:
    """Turn the indented example into a fenced one, so that it is a document of its own."""
    blocks = []
    for block in doc.split("\n\n"):
        lines = block.splitlines()
        indented = bool(lines) and all(line.startswith("    ") for line in lines)
        blocks.append("\n".join(["```yaml", *(line[4:] for line in lines), "```"]) if indented else block)
    return "\n\n".join(blocks)
