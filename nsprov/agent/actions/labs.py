"""Labs of this host as a whole: `labs` lists them, `teardown` takes them down, `audit` proves that nothing is left.

`doctor` says what the host can do for labs.

`lab: "*"` means every lab of which something is on the host, whoever brought it up, what `nsprov attach` has given a name
(`@name`), and what `nsprov ns pin` has pinned.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from nsprov.agent import doctoring
from nsprov.agent.look import MANIFEST
from nsprov.agent.run import Run
from nsprov.errors import Diagnostic, Difference
from nsprov.kernel import audit as auditing
from nsprov.kernel import lab, pins
from nsprov.kernel.abilities import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]

ALL = "*"


def labs(_args: Args, _terms: Terms) -> Result:
    """List the labs that have something on this host, with how many nodes, and since when."""
    rows = []
    for name in auditing.traces():
        manifest = lab.Lab(name).read(MANIFEST)
        found = manifest.get("resources")
        kinds = [row[0] for row in found if isinstance(row, list) and row] if isinstance(found, list) else []
        nodes = kinds.count("netns") + kinds.count("attachment")
        rows.append({"lab": name, "nodes": nodes, "since": manifest.get("since", "")})
    return {"changed": False, "labs": rows, "pins": pins.names()}


def doctor(_args: Args, _terms: Terms) -> Result:
    """Say what this host can do for labs: each check with its state, and the names of those that say "missing"."""
    checks = {name: {"state": state, "what": what} for name, state, what in doctoring.examine({}, time.time())["checks"]}
    missing = [name for name, found in checks.items() if found["state"] == MISSING]
    return {"changed": False, "checks": checks, "missing": missing}


def audit(args: Args, _terms: Terms) -> Result:
    """Fail if anything of a lab is left on this host; it is looked for on the machine, and in no record."""
    names, pinned = _meant(args)
    left = [found.as_dict() for name in names for found in auditing.audit(name)]
    left += [{"summary": f'pin "{name}" is there', "where": path} for name in pinned for path in pins.pinned(name).values()]
    if not left:
        return {"changed": False, "left": [], "msg": "nothing is left"}
    shown = ", ".join(f"{found['summary']} ({found['where']})" for found in left[:10])
    more = f", and {len(left) - 10} more" if len(left) > 10 else ""  # noqa: PLR2004 - as many as were shown
    return {"changed": False, "failed": True, "left": left, "msg": f"{shown}{more}"}


def teardown(args: Args, terms: Terms) -> Result:
    """Take labs down on this host, one after the other; what of them is on other hosts stays."""
    names, pinned = _meant(args)
    gone = [name for name in names if _taken_down(name, terms)]
    for name in [] if terms.check else pinned:
        pins.unpin(name)
    return {"changed": bool(gone or pinned), "labs": gone, "pins": pinned}


def _meant(args: Args) -> tuple[Sequence[str], Sequence[str]]:
    """Give the labs that are meant, and the pins."""
    name = str(args["lab"])
    return (auditing.traces(), pins.names()) if name == ALL else ([auditing.checked(name)], [])


def _taken_down(name: str, terms: Terms) -> bool:
    """Take one lab down, and tell whether there was anything of it."""
    if terms.check:
        return bool(auditing.audit(name))
    with lab.Lab(name).locked(f"a playbook, pid {os.getpid()}"):
        run = Run(name, {})
        run.look()
        plan = run.plan()
        there = bool(plan.changes) or run.kernel.lab.exists()
        run.kernel.heed = terms.heed
        run.execute(lambda *_: terms.heed())
        left = run.verify()
        if left:
            hint = "see who keeps it, with `nsprov audit`, and take it down again"
            raise Difference(*(Diagnostic(f'"{change.ref}" is still there', str(change.ref), hint=hint) for change in left))
        run.commit()
    return there
