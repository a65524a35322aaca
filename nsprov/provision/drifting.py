"""Compare a lab with what was last applied: each host with its own record, and the records of all with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov import errors, inquiry
from nsprov.errors import Diagnostic, Difference
from nsprov.fleet import Outcome
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state
from nsprov.provision.transaction import converge
from nsprov.provision.wanted import Settled, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov import transport
    from nsprov.fleet import Options
    from nsprov.provision.wanted import State


def drift(lab: str, hosts: Sequence[transport.Host], options: Options) -> list[Outcome]:
    """Compare each host that has something of the lab with what was last applied there; hosts that fail are among the rest.

    Raises:
        NothingMatched: no host has anything of the lab.

    """
    found = inquiry.ask("state", lab, hosts, options)
    states: dict[str, State] = {name: load_state(reply["applied"], SCHEMAS) for name, reply in found.replies.items()}
    present = [host for host in hosts if states.get(host.name)]
    if not present and not found.failures:
        hint = "use a name that `nsprov ls` shows"
        raise errors.NothingMatched(Diagnostic(f'no host has a lab "{lab}"', ", ".join(host.name for host in hosts), hint=hint))
    outcomes = {outcome.host: outcome for outcome in found.outcomes if outcome.error}
    task = Task(lab, Settled(states), present, partial=True)
    for outcome in converge(task, options, act=False) if present else []:
        outcome.oom_kills = found.replies[outcome.host]["oom_kills"]
        outcomes[outcome.host] = outcome
    for name, error in _behind(found.replies):
        outcome = outcomes.setdefault(name, Outcome(name))
        outcome.error = outcome.error or error
    return [outcomes[host.name] for host in hosts if host.name in outcomes]


def _behind(replies: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Difference]]:
    """Give the hosts that do not hold what a run has made of the lab that had changed them too, by another host's record."""
    hint = "run `nsprov up` again"
    for name, reply in replies.items():
        for other, row in replies.items():
            if row["generation"] > reply["generation"] and name in row["together"]:
                runs = reply["generation"], row["generation"]
                detail = f"It holds what run {runs[0]} has made of the lab, and {other} what run {runs[1]} has made of both."
                yield name, Difference(Diagnostic("the host is behind the others", name, detail, hint))
                break
            if name in row["members"] and not reply["applied"]:
                detail = f"By the record on {other} it has a part in the lab, and there is nothing of it."
                yield name, Difference(Diagnostic("the host's part is missing", name, detail, hint))
                break
