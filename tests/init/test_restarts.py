"""When a workload is started again."""

from __future__ import annotations

import pytest

from nsprov.init import spec
from nsprov.init.restarts import Restarts
from nsprov.init.supervisor import stoppable


def restarts(**fields):
    return Restarts(spec.parse({"command": ["x"], **fields}))


@pytest.mark.parametrize(
    ("policy", "failed", "again"),
    [
        ("no", True, False),
        ("no", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_policies(policy, failed, again):
    """Each does what its name says."""
    assert (restarts(restart=policy).after(failed=failed, ran=0) is not None) is again


def test_pauses_double():
    """1, 2, 4 ... 60 seconds, and for ever so."""
    counted = restarts(restart="always")

    assert [counted.after(failed=True, ran=0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [counted.after(failed=True, ran=0) for _ in range(100)][-1] == 60
    assert counted.total == 108


def test_a_good_run_begins_anew():
    """The pauses and the count."""
    counted = restarts(restart="on-failure", restart_max=2)
    pauses = [counted.after(failed=True, ran=ran) for ran in (0, 0, 10, 9, 0)]

    assert pauses == [1, 2, 1, 2, None]
    assert counted.total == 4


def test_the_limit():
    """It is given up, until somebody starts it by hand."""
    counted = restarts(restart="always", restart_max=1)

    assert [counted.after(failed=True, ran=0) for _ in range(2)] == [1, None]
    assert counted.exhausted()
    counted.renew()
    assert counted.after(failed=True, ran=0) == 1


def test_for_its_health():
    """It is started again whatever the policy, but not more often than it may."""
    counted = restarts(restart="no", restart_max=1)

    assert [counted.after(failed=True, ran=0, forced=True) for _ in range(2)] == [1, None]


@pytest.mark.parametrize(
    ("needs", "first"),
    [
        ({}, []),
        ({"a": "", "b": ""}, ["a", "b"]),
        ({"a": "", "b": "a", "c": "b"}, ["c"]),
        ({"a": "", "b": "a", "c": "a"}, ["b", "c"]),
        ({"a": "b", "b": "a", "c": ""}, ["c"]),
        ({"a": "b", "b": "a"}, ["a", "b"]),
        ({"a": "a"}, ["a"]),
        ({"a": "gone"}, ["a"]),
    ],
)
def test_what_is_stopped_first(needs, first):
    """What nobody needs; in a circle, all."""
    assert stoppable({name: frozenset(others.split()) for name, others in needs.items()}) == first
