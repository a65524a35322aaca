"""What a task came to: turns of a loop as one result, `changed_when`, `failed_when`, and the results that need no host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.playbook.model import Task
    from nsprov.playbook.running.record import Result

    Holds = Callable[[Any, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Terms:
    """How a task is taken on a host: its keywords, filled in.

    `decides` is whether only we can tell if it has failed, so that nothing may follow before we have.
    """

    ignores: bool = False
    hides: bool = False
    decides: bool = False
    on_host: Mapping[str, Any] = field(default_factory=dict)
    """What the host has to know: environment, check, diff, the user to be."""


def skipped(conditions: Sequence[Any] = ()) -> Result:
    """Give the result of a task whose condition does not hold."""
    found: Result = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}
    return found | {"false_condition": conditions[0] if len(conditions) == 1 else list(conditions)} if conditions else found


def broken(problem: InputError) -> Result:
    """Give the result of a task that could not even be begun."""
    found = problem.diagnostics[0]
    message = ". ".join(part.rstrip(".") for part in (found.summary, found.detail, found.hint) if part)
    where = f" ({found.where})" if found.where else ""
    return {"changed": False, "failed": True, "msg": f"{message}{where}"}


def no_list(items: Any) -> InputError:
    """Say that a loop is over what is no list."""
    hint = "make a list of it: of a mapping with `| dict2items`, of one value with [ ]"
    return InputError(Diagnostic("a loop needs a list", detail=f"This is a {type(items).__name__}.", hint=hint))


def extended(index: int, items: Sequence[Any]) -> dict[str, Any]:
    """Give what `ansible_loop` says of a turn."""
    length = len(items)
    found = {"allitems": list(items), "index": index + 1, "index0": index, "length": length}
    found |= {"revindex": length - index, "revindex0": length - index - 1, "first": index == 0, "last": index == length - 1}
    found |= {"previtem": items[index - 1]} if index else {}
    return found | ({"nextitem": items[index + 1]} if index + 1 < length else {})


def verdict(task: Task, result: Result, variables: Mapping[str, Any], holds: Holds) -> Result:
    """Let `changed_when` and `failed_when` decide; they may ask about the result by the name it is registered under."""
    if result.get("skipped") or result.get("unreachable"):
        return result
    own = {**variables, **({task.register: result} if task.register else {})}
    if task.changed_when is not None:
        result = {**result, "changed": bool(task.changed_when) and holds(task.changed_when, own)}
        own = {**own, **({task.register: result} if task.register else {})}
    if task.failed_when is not None:
        failed = (
            any(holds((one,), own) for one in task.failed_when) if len(task.failed_when) == 1 else holds(task.failed_when, own)
        )
        result = {**result, "failed": failed, "failed_when_result": failed}
    return result


def together(turns: Sequence[tuple[Any, Mapping[str, Any], Result]], variable: str) -> Result:
    """Make one result of all turns of a loop; each item is in its own."""
    rows = [{**result, variable: item, "ansible_loop_var": variable} for item, _, result in turns]
    failed = any(row.get("failed") for row in rows)
    found: Result = {
        "results": rows,
        "changed": any(row.get("changed") for row in rows),
        "msg": "One or more items failed" if failed else "All items completed",
    }
    if not rows:
        return {"changed": False, "skipped": True, "skipped_reason": "No items in the list", "results": []}
    if failed:
        found["failed"] = True
    elif all(row.get("skipped") for row in rows):
        found |= {"skipped": True, "msg": "All items skipped"}
    return found


def lines(result: Result) -> Result:
    """Add stdout_lines and stderr_lines."""
    added = {f"{name}_lines": result[name].splitlines() for name in ("stdout", "stderr") if isinstance(result.get(name), str)}
    return {**result, **added}
