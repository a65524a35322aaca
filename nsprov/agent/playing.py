"""The steps of a playbook on this host, in order, in one message: actions, and resources of a lab in stages.

What stands together of one lab is one stage: it is observed, compared, applied and verified as one, and goes back as one.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from nsprov.agent import actions
from nsprov.agent.actions import deputies
from nsprov.agent.actions.terms import Terms
from nsprov.agent.staging import Stages
from nsprov.errors import NsprovError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nsprov.agent.actions import Action
    from nsprov.agent.protocol import LineChannel
    from nsprov.agent.pulse import Pulse

    Step = Mapping[str, Any]
    Result = dict[str, Any]


class Player:
    """Does steps; what a check has pretended to apply is kept from one message to the next."""

    def __init__(self, channel: LineChannel, pulse: Pulse) -> None:
        """Store the way to the controller."""
        self._channel = channel
        self._pulse = pulse
        self._stages = Stages(pulse.heed)

    def play(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do the steps up to the first that fails and may not; each result is told as it comes.

        The turns of a loop are a group: the others are done when one of them fails, and nothing after them.
        """
        ran, failed = 0, None
        for steps in _stages(request["steps"]):
            if failed is not None and steps[0]["group"] != failed:
                break
            for step, result in zip(steps, self._do(steps)):
                self._channel.send({"event": "result", "step": step["id"], "result": result})
                ran += 1
                if result.get("failed") and not step.get("ignore"):
                    failed = step["group"]
        return {"ran": ran}

    def _do(self, steps: Sequence[Step]) -> Iterable[Result]:
        self._pulse.heed()
        if "resource" in steps[0]:
            return self._stages.apply(steps)
        return [self._act(steps[0])]

    def _act(self, step: Step) -> Result:
        try:
            action = actions.find(step["action"])
            who = deputies.find(step.get("user"))
        except NsprovError as problem:
            return failure(problem)
        if who is None:
            return _attempt(action, step, Terms.of(step, self._pulse.heed))
        return deputies.act(who, lambda: _attempt(action, step, Terms.of(step, lambda: None)), self._pulse.heed)


def _attempt(action: Action, step: Step, terms: Terms) -> Result:
    """Do an action; what keeps it from being done is its result, too."""
    try:
        return action(step["args"], terms)
    except NsprovError as problem:
        return failure(problem)
    except OSError as problem:
        where = f" {_text(problem.filename)}:" if problem.filename else ""
        return {"changed": False, "failed": True, "msg": f"{step['action']}:{where} {problem.strerror or problem}"}
    except (ArithmeticError, LookupError, TypeError, ValueError, re.error) as problem:
        # An argument that is not what it has to be: they are a user's, and come as they were written.
        return {"changed": False, "failed": True, "msg": f"{step['action']}: {problem}"}


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)


def failure(problem: NsprovError) -> Result:
    """Give a failed result that says what an error says."""
    found = problem.diagnostics[0]
    message = ". ".join(part.rstrip(".") for part in (found.summary, found.detail, found.hint) if part)
    return {"changed": False, "failed": True, "msg": message}


def _stages(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Give steps alone, and resources of one lab that stand together as one, but for those that may fail."""
    stage: list[Step] = []
    for step in steps:
        if stage and _kind(step) != _kind(stage[0]):
            yield stage
            stage = []
        if "resource" in step and not step.get("ignore"):
            stage.append(step)
        else:
            yield [step]
    if stage:
        yield stage


def _kind(step: Step) -> tuple[object, ...]:
    if "resource" not in step or step.get("ignore"):
        return ()
    return step["resource"]["lab"], bool(step.get("check"))
