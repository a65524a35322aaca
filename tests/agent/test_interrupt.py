"""An agent that is interrupted in the middle, by its controller or by a signal, puts back what it had done."""

from __future__ import annotations

import os
import signal

import pytest

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state
from nsprov.transport.local import ForkSession

pytestmark = pytest.mark.root
LAB = "t"


def rows(hostname, count=20):
    """Give a lab of some nodes with names that an edit changes."""
    found = [["bridge", {"node": "", "name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500}]]
    for number in range(count):
        node = f"n{number}"
        pair = {"node": node, "ifname": "eth0", "peer_node": "", "peer_ifname": f"p{number}", "peer_master": "br0"}
        found += [
            ["netns", {"node": node, "name": f"t-{node}"}],
            ["utsns", {"node": node, "hostname": f"{hostname}-{number}"}],
            ["mntns", {"node": node}],
            ["veth", {**pair, "state": "up"}],
            ["address", {"node": node, "dev": "eth0", "address": f"10.0.0.{number + 1}/24"}],
            ["sysctl", {"node": node, "key": "net.ipv4.ip_default_ttl", "value": str(50 + len(hostname))}],
        ]
    return found


def state(*args):
    return list(load_state(rows(*args), SCHEMAS).values())


class Controller:
    """A controller that has its plan made, and then does something else than wait."""

    def __init__(self, desired):
        """Prepare."""
        self.session = ForkSession("here")
        self.pid = self.session.receive()["pid"]
        self.session.send({"verb": "prepare", "lab": LAB, "act": True, "desired": desired})
        assert self.session.receive()["reply"] == "prepare"

    def apply(self, steps):
        """Apply, and return in the middle, when so many steps have begun."""
        self.session.send({"verb": "apply"})
        for _ in range(steps):
            assert self.session.receive()["event"] == "step"

    def rest(self):
        """Take the replies that are still to come, until the agent has gone."""
        found = []
        while (message := self.session.receive()) is not None:
            if "event" not in message:
                found.append(message.get("reply", message.get("error")))
        self.session.close()
        return found


STEPS = pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])


@pytest.fixture(autouse=True)
def _goes_down(labs):
    """Take the lab down whatever happened."""
    labs.used.add(LAB)


@STEPS
def test_a_rollback_that_comes_in_the_middle(labs, steps):
    """The agent stops at the next step, says so, goes back, says so too, and goes on serving."""
    labs.up(LAB, *state("old"))
    controller = Controller(rows("newer", 10))
    controller.apply(steps)
    controller.session.send({"verb": "rollback"})
    replies = [take(controller), take(controller)]
    controller.session.send({"verb": "labs"})

    assert replies in (["Interrupted", "rollback"], ["apply", "rollback"])
    assert take(controller) == "labs"
    controller.session.close()
    assert labs.plan(LAB, *state("old")).actions() == {}
    labs.down(LAB)


def take(controller):
    """Take the next reply."""
    while "event" in (message := controller.session.receive()):
        pass
    return message.get("reply", message.get("error"))


@STEPS
def test_silence_in_the_middle_of_a_new_lab(host, steps):
    """A controller that goes in the middle leaves nothing."""
    controller = Controller(rows("new"))
    controller.apply(steps)
    controller.session.close()
    host.check()


@STEPS
def test_silence_in_the_middle_of_an_edit(labs, steps):
    """A controller that goes in the middle leaves the lab as it was."""
    labs.up(LAB, *state("old"))
    controller = Controller(rows("newer", 10))
    controller.apply(steps)
    controller.session.close()

    assert labs.plan(LAB, *state("old")).actions() == {}
    labs.down(LAB)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_signal_in_the_middle(labs, number, steps):
    """An agent that is told to end puts back what it had done first."""
    labs.up(LAB, *state("old"))
    controller = Controller(rows("newer", 10))
    controller.apply(steps)
    os.kill(controller.pid, number)
    controller.rest()

    assert labs.plan(LAB, *state("old")).actions() == {}
    assert not os.path.exists(f"/run/nsprov/{LAB}/journal.json")
    labs.down(LAB)


def test_ctrl_c_is_the_controllers(labs):
    """SIGINT reaches the whole terminal: the agent leaves it to the controller."""
    controller = Controller(rows("new", 3))
    controller.apply(1)
    os.kill(controller.pid, signal.SIGINT)

    assert take(controller) == "apply"
    controller.session.send({"verb": "commit"})
    assert take(controller) == "commit"
    controller.session.close()
    assert labs.plan(LAB, *state("new", 3)).actions() == {}
    labs.down(LAB)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_silence_while_a_lab_goes_down(labs, host, steps):
    """A `down` does not go back: the next one takes the rest."""
    labs.up(LAB, *state("old", 5))
    controller = Controller([])
    controller.apply(steps)
    controller.session.close()
    labs.down(LAB)
    host.check()
