"""What a lab holds with some of it more, or less: for who names a part and not the whole.

Of a workload, what keeps it is made along with it, as a topology does: the node's init and its control group. Both go with
the node's last workload.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError
from nsprov.kinds.cgroup import Cgroup
from nsprov.kinds.init import Init
from nsprov.kinds.workload import Workload
from nsprov.plan.resource import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.plan.resource import Resource

    State = Mapping[Ref, Resource]
    Wants = Sequence[tuple[Resource, bool]]

_SPACES = ("cgroup", "ipc", "mnt", "net", "time", "user", "uts")
_CHECKED = ("init", "link", "netns")
_OF_HOST = "link:host/"
"""How a token begins of what a host may have that is no lab's."""


def changed(before: State, wants: Wants) -> dict[Ref, Resource]:
    """Give a state with some resources more, and some less with all that stands on them.

    Raises:
        InputError: a resource stands on what is not there.

    """
    after = dict(before)
    for resource, present in wants:
        if present:
            found = _kept(resource, after) if isinstance(resource, Workload) else resource
            after[found.ref()] = found
        else:
            _remove(after, resource.ref())
    for node in {resource.node for resource in before.values() if isinstance(resource, Workload)}:
        _release(after, node)
    flaws = [_flaw(resource, token) for resource, token in _missing(wants, after)]
    if flaws:
        raise InputError(*flaws)
    return after


def _remove(state: dict[Ref, Resource], ref: Ref) -> None:
    gone = state.pop(ref, None)
    if gone is None:
        return
    lost = {*gone.provides()} - {token for other in state.values() for token in other.provides()}
    for other in [*state.values()]:
        if lost & {*other.stands_on()}:
            _remove(state, other.ref())


def _kept(workload: Workload, state: dict[Ref, Resource]) -> Workload:
    """Add what a workload needs, unless it is there, and give the workload for a node as it is."""
    node = workload.node
    spaces = tuple(sorted(kind for kind in _SPACES if Ref(f"{kind}ns", node) in state))
    if Ref("init", node) not in state and "net" in spaces:
        state.setdefault(Ref("cgroup", node), Cgroup(node=node))
        state[Ref("init", node)] = Init(node=node, spaces=spaces)
    return replace(workload, mnt="mnt" in spaces)


def _release(state: dict[Ref, Resource], node: str) -> None:
    """Take away what has kept workloads, when there are none any more and it has no other use."""
    if any(isinstance(resource, Workload) and resource.node == node for resource in state.values()):
        return
    init = state.get(Ref("init", node))
    if isinstance(init, Init) and not init.pid:
        del state[init.ref()]
    group = Cgroup(node=node)
    if state.get(group.ref()) == group and not {Ref("init", node), Ref("cgroupns", node)} & state.keys():
        del state[group.ref()]


def _missing(wants: Wants, state: State) -> Iterator[tuple[Resource, str]]:
    """Give the tokens that resources stand on and nothing provides, but for what may be the host's own."""
    provided = {token for resource in state.values() for token in resource.provides()}
    for resource, present in wants:
        if present and resource.ref() in state:
            for token in state[resource.ref()].stands_on():
                kind, _, name = token.partition(":")
                if kind in _CHECKED and name and not token.startswith(_OF_HOST) and token not in provided:
                    yield resource, token


def _flaw(resource: Resource, token: str) -> Diagnostic:
    kind, _, name = token.partition(":")
    ref = resource.ref()
    what, hint = f'node "{name}"', f"`netns: {{name: {name}}}`"
    if kind == "link":
        what, hint = f'link "{name}"', "`veth:` or `bridge:`"
    return Diagnostic(f'"{ref}" cannot be: the lab has no {what}', str(ref), hint=f"make it by an earlier task: {hint}")
