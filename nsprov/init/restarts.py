"""Whether a workload that has ended is started again, and when: no effects, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsprov.init.spec import Spec

_DOUBLINGS = 32


class Restarts:
    """Counts the restarts of one workload: `total` are all of them, `tries` those since its last good run."""

    def __init__(self, spec: Spec) -> None:
        """Begin at nought."""
        self.total = 0
        self._spec = spec
        self.tries = 0

    def after(self, *, failed: bool, ran: float, forced: bool = False) -> float | None:
        """Give the seconds to wait before it is started again; `None` if it is not. `ran` is for how long it was up."""
        spec = self._spec
        if ran >= spec.reset:
            self.tries = 0
        wanted = forced or spec.restart == "always" or (spec.restart == "on-failure" and failed)
        if not wanted or self.exhausted():
            return None
        pause = min(spec.backoff * 2.0 ** min(self.tries, _DOUBLINGS), spec.backoff_max)
        self.tries += 1
        self.total += 1
        return float(pause)

    def exhausted(self) -> bool:
        """Tell whether it has been started again as often as it may."""
        return bool(self._spec.restart_max) and self.tries >= self._spec.restart_max

    def renew(self) -> None:
        """Begin anew: somebody has started it by hand."""
        self.tries = 0
