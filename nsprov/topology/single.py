"""One workload that stands in no topology, in the words that it would have in one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.topology.positions import Problems
from nsprov.topology.source import parse
from nsprov.topology.wording import validate
from nsprov.topology.workloads import read_workloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.topology.node_model import Workload

_NODE = "node"


def read_workload(name: str, given: Mapping[str, Any]) -> Workload:
    """Read a workload; nothing in it is a template.

    Raises:
        InputError: everything that is wrong with it, with no place, for it has none.

    """
    raw = {"nodes": {_NODE: {"workloads": {name: dict(given)}}}}
    problems = Problems(parse("", json.dumps(raw)))
    try:
        spec = validate(raw, problems)
        nodes = spec.nodes or {}
        workloads = getattr(nodes.get(_NODE), "workloads", None) or {}
        found = read_workloads(workloads, ("nodes", _NODE, "workloads"), problems)
        problems.settle()
    except InputError as problem:
        raise InputError(*(Diagnostic(one.summary, "", one.detail, one.hint) for one in problem.diagnostics)) from None
    return found[name]
