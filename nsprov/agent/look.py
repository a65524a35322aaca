"""One look at one lab of this host: what was applied last, and what is observed of it."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from nsprov.kernel.machine import Kernel
from nsprov.kinds import KINDS, SCHEMAS
from nsprov.plan.change import load_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.plan.resource import Ref, Resource

    State = Mapping[Ref, Resource]

MANIFEST, JOURNAL = "manifest.json", "journal.json"


class Look:
    """What is desired of a lab, what was applied, and what is there; nothing of it changes the host."""

    def __init__(self, lab: str, desired: State, kernel: Kernel | None = None) -> None:
        """Store what is asked for, and the doors, if they are open already."""
        self.kernel = kernel or Kernel(lab)
        self.desired = desired
        self.applied: State = {}
        self.observed: State = {}
        self.interrupted = ""
        self.timing: dict[str, float] = {}
        self._manifest: dict[str, object] = {}
        self._journal: dict[str, object] = {}

    def recall(self) -> bool:
        """Read what was applied, and tell whether there is a record; a journal means that a run was killed."""
        self._manifest, self._journal = self.kernel.lab.read(MANIFEST), self.kernel.lab.read(JOURNAL)
        self.interrupted = str(self._journal.get("holder", ""))
        self.applied = load_state([*_rows(self._journal), *_rows(self._manifest)], SCHEMAS)
        return bool(self._manifest)

    @property
    def committed(self) -> State:
        """Give what the last run that came to its end has applied, without what one that was killed may have begun."""
        return load_state(_rows(self._manifest), SCHEMAS)

    @property
    def members(self) -> tuple[str, ...]:
        """Give the hosts that hold something of the lab by the record, and by that of a run that was killed."""
        return tuple(sorted({*_texts(self._manifest, "members"), *_texts(self._journal, "members")}))

    @property
    def generation(self) -> int:
        """Give the number of the run that was committed here last, 0 if none was."""
        found = self._manifest.get("generation")
        return found if isinstance(found, int) else 0

    @property
    def together(self) -> tuple[str, ...]:
        """Give the hosts that the run of that number has changed."""
        return tuple(_texts(self._manifest, "together"))

    def still_holds(self, lab: str, rows: list[list[object]]) -> bool:
        """Tell whether what was seen of `lab` without its lock is good with it, and `rows` are what was looked for."""
        if self.kernel.lab.name != lab or self._journal or _rows(self._manifest) != rows:
            return False
        return not self.kernel.lab.read(JOURNAL) and self.kernel.lab.read(MANIFEST) == self._manifest

    def look(self) -> None:
        """Read the record and observe what it says, and without one all that bears the lab's mark."""
        began = time.monotonic()
        recorded = self.recall()
        kernel = self.kernel
        names = {} if recorded and self.desired and not self.interrupted else kernel.discover()
        known = {**self.desired, **self.applied}
        kernel.namespaces.names = {**networks(known), **names}
        if recorded:
            kernel.seen.focus(known.values())
        self.observed = self.observe(known)
        self.note("observe", began)

    def observe(self, known: State) -> State:
        """Ask every kind what of `known` is there, and what else bears the lab's mark."""
        by_kind: dict[str, dict[Ref, Resource]] = defaultdict(dict)
        for ref, resource in known.items():
            by_kind[ref.kind][ref] = resource
        found = itertools.chain.from_iterable(kind.observe(self.kernel, by_kind[kind.NAME]) for kind in KINDS)
        return {resource.ref(): resource for resource in found}

    def note(self, what: str, began: float) -> None:
        """Add the time since `began` to what a phase took."""
        self.timing[what] = self.timing.get(what, 0.0) + time.monotonic() - began


def networks(state: State) -> dict[str, str]:
    """Give the network namespaces that a state pins: node -> name below /run/netns."""
    return dict(pinned for resource in state.values() if (pinned := resource.pinned_network()))


def _rows(content: Mapping[str, object]) -> list[list[object]]:
    rows = content.get("resources", [])
    return rows if isinstance(rows, list) else []


def _texts(content: Mapping[str, object], name: str) -> list[str]:
    found = content.get(name, [])
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
