"""Many hosts at once: the sessions of one run, what becomes of each host, and streams of rows from all of them."""

from __future__ import annotations

from nsprov.fleet.outcomes import Outcome, Phase, Progress
from nsprov.fleet.part import Part, talk
from nsprov.fleet.sessions import FORKS, HOST_TIMEOUT, Fleet, Options, opened, start_early

__all__ = ["FORKS", "HOST_TIMEOUT", "Fleet", "Options", "Outcome", "Part", "Phase", "Progress", "opened", "start_early", "talk"]
