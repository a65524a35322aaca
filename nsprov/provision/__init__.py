"""What is done with a lab on its hosts: make them hold it, compare them with it, and run commands in its nodes."""

from __future__ import annotations

from nsprov.provision.drifting import drift
from nsprov.provision.entering import execute, labs_with, run_here, run_inside
from nsprov.provision.transaction import converge, converge_on
from nsprov.provision.wanted import Finder, Settled, Task, Wanted

__all__ = [
    "Finder",
    "Settled",
    "Task",
    "Wanted",
    "converge",
    "converge_on",
    "drift",
    "execute",
    "labs_with",
    "run_here",
    "run_inside",
]
