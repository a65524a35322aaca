"""Bring a lab up and down by an agent that runs in another Python, as on a host that has only that: agent.py PYTHON."""

import sys
from typing import Any

from nsprov import topology
from nsprov.agent import bundle
from nsprov.inventory import Host
from nsprov.plan.change import dump_state
from nsprov.resolve import resolve
from nsprov.transport import local

LAB = "line"


def run(python: str, desired: list[Any]) -> int:
    """Make this host hold the state, and give the number of changes."""
    session = local.through_pipes(Host(name="ci", address="ci", connection="local", python=python), bundle.bundle)
    assert (session.receive() or {})["event"] == "hello"
    replies = [ask(session, {"verb": "prepare", "lab": LAB, "desired": desired, "act": True, "holder": "ci"})]
    replies += [ask(session, {"verb": verb}) for verb in ("apply", "commit")]
    session.close()
    print(f"  {session.facts['python']}: {replies[0]['counts']}")
    return sum(replies[0]["counts"].values())


def ask(session: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request and give its reply; an error ends this."""
    session.send(request)
    while "reply" not in (message := session.receive() or {"error": "gone", "said": session.last_words()}):
        assert "error" not in message, message
    return dict(message)


state = dump_state(resolve(topology.load("topologies/router-line.yml"))["localhost"].values())
assert run(sys.argv[1], state) == len(state)
assert run(sys.argv[1], state) == 0
assert run(sys.argv[1], []) == len(state)
