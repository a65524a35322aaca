"""Make a resource of what a task says of it: fields of the types, and in the form, that its kind wants."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.kinds import SCHEMAS
from nsprov.kinds.file import LAB
from nsprov.kinds.route import usual_metric
from nsprov.kinds.workload import Workload
from nsprov.plan.resource import decode, encode, schema
from nsprov.render.filters import to_bool
from nsprov.topology.addresses import parse_cidr, parse_ip, parse_mac, parse_network, text_of
from nsprov.topology.positions import Flaw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.plan.resource import Resource

_PRESENCE = ("present", "absent")


def resource(kind: str, args: Mapping[str, Any], lab: str) -> dict[str, Any]:
    """Give what a host gets to know: a resource of a lab, and whether it is to be there or not.

    Raises:
        InputError: a field is missing, or cannot be what it is.

    """
    given = dict(args)
    state, present = given.get("state"), True
    if state in _PRESENCE:
        present = given.pop("state") == _PRESENCE[0]
    elif state is not None and (kind == "workload" or "state" not in schema(SCHEMAS[kind])):
        raise InputError(Diagnostic(f'the state of "{kind}" cannot be "{state}"', hint='use "present" or "absent"'))
    lab = str(given.pop("lab", lab))
    return {"lab": lab, "row": [kind, encode(_resource(kind, given, complete=present))], "present": present}


def _resource(kind: str, given: Mapping[str, Any], *, complete: bool) -> Resource:
    if kind == "workload" and complete:
        return _workload(given)
    hint = f"see docs/kinds/{kind}.md for its fields"
    found = _fields(kind, given)
    if not complete:  # its name is enough for one that is to go
        needed = {name: one for name, one in schema(SCHEMAS[kind]).items() if one.default is MISSING}
        found = {**{name: 0 if str(one.type).startswith("int") else "" for name, one in needed.items()}, **found}
    try:
        return decode(SCHEMAS[kind], {name: _formed(kind, name, value, found) for name, value in found.items()})
    except Flaw as flaw:
        raise InputError(Diagnostic(f"{kind}: {flaw.summary}", "", flaw.detail, flaw.hint or hint)) from None
    except InputError as problem:
        raise InputError(Diagnostic(problem.diagnostics[0].summary, hint=hint)) from problem


def _fields(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a kind's fields of the types that it wants: templates give texts, and who leaves the node out means the host."""
    found = {name: _typed(str(one.type), given[name]) for name, one in schema(SCHEMAS[kind]).items() if name in given}
    if kind == "netns":
        name = found.get("name", found.get("node"))
        return {"node": name, "name": name, **found}
    if kind == "file":
        return {"owner": LAB, **found}
    if kind == "veth":  # as in a topology, and as bridges are
        found = {"state": "up", "peer_state": "up", **found}
    if kind == "rule" and "family" not in found:
        found["family"] = 6 if ":" in f"{found.get('source', '')}{found.get('destination', '')}" else 4
    if kind == "route" and "metric" not in found and ":" in f"{found.get('to')}{found.get('via')}":
        found["metric"] = usual_metric("::")
    for name in ("node", "peer_node"):
        if name in schema(SCHEMAS[kind]):
            found.setdefault(name, "")
    return found


def _typed(annotation: str, value: Any) -> Any:
    if annotation.startswith("str") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if annotation.startswith("int") and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if annotation.startswith("bool") and isinstance(value, str):
        return to_bool(value)
    if isinstance(value, str):
        return str(value)  # and not a secret text: the wire has no such type
    return list(value) if isinstance(value, tuple) else value


def _formed(kind: str, name: str, value: Any, found: Mapping[str, Any]) -> Any:
    """Give a value as the kernel does, for another form of the same thing would be a difference for ever."""
    if not isinstance(value, str) or not value:
        return value
    if kind == "route" and name == "to" and value == "default":
        return "::/0" if ":" in str(found.get("via", "")) else "0.0.0.0/0"
    if kind == "sysctl" and name == "key" and "/" in value and "." not in value.partition("/")[0]:
        return value.translate(_SWAPPED)
    form = _FORMS.get((kind, name))
    return form(value) if form is not None else value


def _ip(text: str) -> str:
    return text_of(*parse_ip(text))


def _cidr(text: str) -> str:
    return parse_cidr(text).text


def _network(text: str) -> str:
    return parse_network(text).text


_SWAPPED = str.maketrans("./", "/.")
_FORMS: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("address", "address"): _cidr,
    ("bridge", "mac"): parse_mac,
    ("neighbour", "address"): _ip,
    ("neighbour", "lladdr"): parse_mac,
    ("route", "source"): _ip,
    ("route", "to"): _network,
    ("route", "via"): _ip,
    ("rule", "destination"): _network,
    ("rule", "source"): _network,
    ("sysctl", "value"): lambda text: " ".join(text.split()),
    ("veth", "mac"): parse_mac,
    ("veth", "peer_mac"): parse_mac,
}


def _workload(given: Mapping[str, Any]) -> Workload:
    """Read a workload in the words of a topology; its environment's secrets are secrets of it."""
    from nsprov.texts import SecretText  # noqa: PLC0415 - for start-up, as below
    from nsprov.topology.single import read_workload  # noqa: PLC0415 - for start-up: pydantic takes 100 ms

    rest = {name: value for name, value in given.items() if name not in ("node", "name")}
    for name in ("node", "name"):
        if not given.get(name):
            raise InputError(Diagnostic(f'"workload" needs "{name}"', hint=f"write `{name}:` below it"))
    env = rest.get("env") if isinstance(rest.get("env"), dict) else {}
    found = read_workload(str(given["name"]), rest)
    values = {one.name: getattr(found, one.name) for one in fields(found)}
    hidden = {name for name, value in (env or {}).items() if isinstance(value, SecretText)}
    values["env"] = tuple(pair for pair in found.env if pair[0] not in hidden)
    values["secrets"] = (*found.secrets, *(pair for pair in found.env if pair[0] in hidden))
    return Workload(node=str(given["node"]), **values)
