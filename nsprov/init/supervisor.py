"""The workloads of a node, and the order in which they are stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.init import spec
from nsprov.init.run import Order
from nsprov.init.workload import SETTLED, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.init.run import Site

    Given = Mapping[str, Any]


class Supervisor:
    """Has the workloads, in the order in which they were first started."""

    def __init__(self, site: Site) -> None:
        """Have none."""
        self.workloads: dict[str, Workload] = {}
        self.closing = False
        self._site = site
        self._leaving: set[str] = set()
        self._asked: set[str] = set()
        self._then: list[Callable[[], None]] = []

    def get(self, name: object) -> Workload:
        """Give a workload; ValueError, in words, if there is none of that name."""
        if not isinstance(name, str) or name not in self.workloads:
            raise ValueError(f"there is no workload {name!r}")
        return self.workloads[name]

    def startable(self, name: object) -> Workload:
        """Give a workload that may be started; ValueError if it is about to go."""
        workload = self.get(name)
        self._refuse_the_leaving(workload.name)
        return workload

    def set(self, name: object, given: Any, groups: Sequence[int], killer: int = -1) -> bool:
        """Have a workload be what is given, running; tell whether it was not, and so has taken the descriptors.

        Raises:
            ValueError: the name or the spec is wrong, or nothing is to be started any more.

        """
        order = Order(spec.parse(given), given, tuple(groups), killer)
        name = spec.workload_name(name)
        self._refuse_the_leaving(name)
        workload = self.workloads.get(name)
        if workload is None:
            workload = self.workloads[name] = Workload(self._site, name, order)
            workload.start()
        elif _meant(workload.order.given) != _meant(given) or workload.record.is_down():
            workload.restart(order)
        else:
            return False
        return True

    def remove(self, name: str, then: Callable[[], None]) -> None:
        """Stop a workload, forget it, and call; what is not there is gone."""
        if name not in self.workloads:
            then()
            return
        workload = self.get(name)

        def gone(event: str) -> bool:
            if event != "stopped":
                return False
            if self.workloads.pop(workload.name, None) is not None:
                self._leaving.discard(workload.name)
                workload.forget()
            then()
            return True

        self._leaving.add(workload.name)
        workload.record.when(gone)
        workload.stop()

    def shut_down(self, then: Callable[[], None]) -> None:
        """Stop all workloads, those that come after others before these, and call when nothing is left."""
        self.closing = True
        self._then.append(then)
        self._wind_down()

    def _refuse_the_leaving(self, name: str) -> None:
        if self.closing or name in self._leaving:
            raise ValueError("the node is being shut down" if self.closing else f'workload "{name}" is being removed')

    def _wind_down(self) -> None:
        left = {name: workload for name, workload in reversed(list(self.workloads.items())) if workload.phase != SETTLED}
        for name in stoppable({name: _needed(workload) for name, workload in left.items()}):
            if name not in self._asked:
                self._asked.add(name)
                left[name].record.when(self._one_less)
                left[name].stop()
        for then in [] if left else self._then:
            then()

    def _one_less(self, event: str) -> bool:
        if event == "stopped":
            self._site.loop.later(0, self._wind_down)
        return event == "stopped"


def stoppable(needs: Mapping[str, frozenset[str]]) -> list[str]:
    """Give those that no other one needs; all of them if they need each other in a circle."""
    needed = {other for name, others in needs.items() for other in others if other != name}
    return [name for name in needs if name not in needed] or list(needs)


def _needed(workload: Workload) -> frozenset[str]:
    """Give the names of the workloads of this node that it comes after."""
    node, here = str(workload.order.given.get("node", "")), workload.order.spec.after
    return frozenset(other[len(node) + 1 :] for other in here if other.startswith(f"{node}/"))


def _meant(given: Given) -> dict[str, Any]:
    """Leave out of a spec what is no part of it: the state that the agent has seen."""
    return {key: value for key, value in given.items() if key != "state"}
