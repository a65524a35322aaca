"""A conversation with a real agent about steps of a playbook."""

from __future__ import annotations

import pytest

from nsprov.transport.local import ForkSession


class Talk:
    """A conversation with an agent, about steps."""

    def __init__(self):
        """Start an agent."""
        self.session = ForkSession("here")
        self.session.receive()

    def send(self, *steps):
        """Send steps, each a mapping with an action or a resource."""
        self.session.send({"verb": "play", "steps": [{"id": i, "group": i, **step} for i, step in enumerate(steps)]})

    def play(self, *steps):
        """Have steps done and give the results of those that were."""
        self.send(*steps)
        found = []
        while (message := self.session.receive()) is not None:
            if "event" not in message:
                assert message == {"reply": "play", "ran": len(found)}
                return found
            found.append(message["result"])
        pytest.fail("the agent has gone")

    def ask(self, verb, **fields):
        """Ask for something else and give the reply."""
        self.session.send({"verb": verb, **fields})
        while "event" in (message := self.session.receive()):
            pass
        return message
