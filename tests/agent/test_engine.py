"""The agent, over its real wire: what a controller may say, and what becomes of the host when it says it, or falls silent."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_plan, load_state
from nsprov.transport.local import ForkSession

pytestmark = pytest.mark.root
LAB = "t"
MANIFEST = f"/run/nsprov/{LAB}/manifest.json"

NODE = ["netns", {"node": "a", "name": "t-a"}]
BRIDGE = ["bridge", {"node": "", "name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500}]
SMALL = [
    NODE,
    ["utsns", {"node": "a", "hostname": "alpha"}],
    ["file", {"owner": "a", "path": "/etc/motd", "content": "one"}],
    ["mntns", {"node": "a", "binds": [["/etc/motd", "a/etc/motd"]]}],
    BRIDGE,
    ["address", {"node": "", "dev": "br0", "address": "10.50.0.1/24"}],
    ["veth", {"node": "a", "ifname": "eth0", "peer_node": "", "peer_ifname": "a-eth0", "peer_master": "br0", "state": "up"}],
    ["address", {"node": "a", "dev": "eth0", "address": "10.50.0.2/24"}],
    ["route", {"node": "a", "to": "0.0.0.0/0", "via": "10.50.0.1", "dev": "eth0"}],
    ["sysctl", {"node": "a", "key": "net.ipv4.ip_forward", "value": "1"}],
]
EDITED = [
    NODE,
    ["utsns", {"node": "a", "hostname": "omega"}],
    ["file", {"owner": "a", "path": "/etc/motd", "content": "two"}],
    ["mntns", {"node": "a", "binds": [["/etc/motd", "a/etc/motd"]]}],
    ["veth", {"node": "a", "ifname": "eth0", "peer_node": "", "peer_ifname": "a-eth0", "mtu": 1300, "state": "up"}],
    ["address", {"node": "a", "dev": "eth0", "address": "10.60.0.2/24"}],
]
BROKEN = {
    "a sysctl that no kernel has": ["sysctl", {"node": "a", "key": "net.ipv4.teapot", "value": "1"}],
    "a value that it refuses": ["sysctl", {"node": "a", "key": "net.ipv4.ip_default_ttl", "value": "9999"}],
    "a gateway that cannot be reached": ["route", {"node": "a", "to": "10.9.0.0/16", "via": "172.16.0.1", "dev": "eth0"}],
    "a next hop that cannot be reached": ["route", {"node": "a", "to": "10.9.0.0/16", "nexthops": [["172.16.0.1", "eth0", 1]]}],
    "no such device": ["neighbour", {"node": "a", "dev": "eth9", "address": "10.0.0.9", "lladdr": "02:00:00:00:00:09"}],
}
broken = pytest.mark.parametrize("step", BROKEN.values(), ids=BROKEN)


class Talk:
    """A controller's side of one conversation."""

    def __init__(self):
        """Start an agent and take its greeting."""
        self.session = ForkSession("here")
        self.hello = self.session.receive()

    def ask(self, verb, **fields):
        """Send a request and give the reply; `steps` are the events before it."""
        self.session.send({"verb": verb, **fields})
        self.steps = []
        while (message := self.session.receive()) is not None:
            if "event" not in message:
                return message
            self.steps.append(message)
        pytest.fail("the agent has gone")

    def prepare(self, desired, lab=LAB, **fields):
        """Ask for a plan that will be executed."""
        return self.ask("prepare", lab=lab, desired=desired, **{"act": True, **fields})

    def apply(self, desired):
        """Prepare and apply, but do not commit."""
        assert "error" not in self.prepare(desired)
        return self.ask("apply")

    def close(self):
        """Fall silent."""
        self.session.close()


@pytest.fixture
def talk(labs):
    """Give a function that starts an agent; what still runs at the end is closed, and the lab goes down."""
    labs.used.add(LAB)
    talks = []

    def start():
        talks.append(Talk())
        return talks[-1]

    yield start
    for one in talks:
        one.close()


def rows(desired):
    return list(load_state(desired, SCHEMAS).values())


def summary(reply):
    return " ".join(f"{d['summary']} {d.get('detail', '')}" for d in reply["diagnostics"])


def test_hello(talk):
    """An agent greets with the protocol's version and who it is, and touches nothing."""
    hello = talk().hello

    assert (hello["event"], hello["version"], hello["uid"]) == ("hello", 1, 0)


def test_a_run(talk, labs):
    """Prepared, applied and committed: the plan names every resource, the steps count up, and the lab stays."""
    one = talk()
    reply = one.prepare(SMALL)
    plan = load_plan(reply["plan"], SCHEMAS)

    assert {str(r.ref()) for r in rows(SMALL)} == {str(change.ref) for change in plan.changes}
    assert reply["counts"] == {"create": len(SMALL), "update": 0, "replace": 0, "delete": 0}
    assert one.ask("apply")["held"] == []
    assert {step["total"] for step in one.steps} == {len(SMALL)}
    assert [step["done"] for step in one.steps] == sorted(step["done"] for step in one.steps)
    assert one.ask("commit")["reply"] == "commit"
    one.close()
    assert labs.plan(LAB, *rows(SMALL)).actions() == {}
    labs.down(LAB)


def test_planning_touches_nothing(talk, host):
    """Without `act` nothing is locked, made or written."""
    one = talk()

    assert one.prepare(SMALL, act=False)["counts"]["create"] == len(SMALL)
    one.close()
    host.check()


def test_silence_before_the_end_rolls_back_a_new_lab(talk, host):
    """A controller that goes before `commit` leaves nothing behind."""
    one = talk()

    assert one.apply(SMALL)["reply"] == "apply"
    one.close()
    host.check()


def test_silence_before_the_end_rolls_back_an_edit(talk, labs):
    """A controller that goes before `commit` leaves the lab as it was."""
    labs.up(LAB, *rows(SMALL))
    one = talk()

    assert one.apply(EDITED)["reply"] == "apply"
    one.close()
    assert labs.plan(LAB, *rows(SMALL)).actions() == {}
    labs.down(LAB)


def test_an_asked_for_rollback(talk, labs):
    """`rollback` goes back at once, and the conversation goes on."""
    labs.up(LAB, *rows(SMALL))
    one = talk()
    one.apply(EDITED)

    assert one.ask("rollback")["reply"] == "rollback"
    assert one.ask("state", lab=LAB)["applied"] != []
    one.close()
    assert labs.plan(LAB, *rows(SMALL)).actions() == {}
    labs.down(LAB)


@broken
def test_a_failing_step_of_a_new_lab(talk, host, step):
    """The kernel's refusal is told with its resource, and nothing is left."""
    one = talk()
    reply = one.apply([*SMALL, step])

    assert reply["error"] in ("KernelError", "StepFailed")
    assert summary(reply)
    one.close()
    host.check()


@broken
def test_a_failing_step_of_an_edit(talk, labs, step):
    """The lab is as it was before, to the last property, and its record too."""
    labs.up(LAB, *rows(SMALL))
    one = talk()

    assert "error" in one.apply([*EDITED, step])
    assert one.ask("rollback") == {"reply": "rollback"}
    one.close()
    plan = labs.plan(LAB, *rows(SMALL))
    assert plan.actions() == {}
    assert plan.interrupted == ""
    assert not os.path.exists(f"/run/nsprov/{LAB}/journal.json")
    labs.down(LAB)


def test_a_failing_step_in_a_damaged_lab(talk, labs, run_command):
    """What somebody broke before a failing run may stay broken, but the agent gets through, and `up` repairs all."""
    labs.up(LAB, *rows(SMALL))
    run_command("ip", "netns", "del", "t-a")
    one = talk()

    assert "error" in one.apply([*SMALL, BROKEN["a sysctl that no kernel has"]])
    reply = one.ask("rollback")
    assert reply.get("error") in (None, "RollbackIncomplete")
    one.close()
    labs.up(LAB, *rows(SMALL))
    assert labs.plan(LAB, *rows(SMALL)).actions() == {}
    labs.down(LAB)


def test_a_host_that_moved_since_the_plan(talk, labs, run_command):
    """A saved plan is refused once the host is not as it was."""
    labs.up(LAB, *rows(SMALL))
    one, two = talk(), talk()
    saved = one.prepare(EDITED, act=False, fingerprint=True)["plan"]
    one.close()
    run_command("ip", "link", "set", "br0", "mtu", "1400")

    assert two.prepare(EDITED, expected=saved)["error"] == "StalePlan"
    two.close()
    labs.down(LAB)


def test_a_saved_plan_that_still_holds(talk, labs):
    """A saved plan is executed when the host is as it was."""
    labs.up(LAB, *rows(SMALL))
    one, two = talk(), talk()
    saved = one.prepare(EDITED, act=False, fingerprint=True)["plan"]
    one.close()

    assert two.prepare(EDITED, expected=saved)["reply"] == "prepare"
    two.close()
    labs.down(LAB)


@pytest.mark.parametrize("verb", ["reboot", "", None, 7, "__init__", ["prepare"]])
def test_an_unknown_verb(talk, verb):
    """Only the listed verbs are obeyed, and the conversation goes on."""
    one = talk()

    assert one.ask(verb)["error"] == "InputError"
    assert one.ask("labs")["labs"] == []


NO_NAMES = ["", "..", "../x", "a/b", ".", "-a", "1a", "a b", "ä", "a\n", None, 7, ["t"], "a.lock", "a" * 300]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_bad_name(talk, host, name):
    """A lab's name becomes part of paths: what is none is refused, and nothing is made."""
    one = talk()

    assert one.prepare(SMALL, lab=name)["error"] in ("InputError", "StepFailed")
    one.close()
    host.check()


@pytest.mark.parametrize("verb", ["apply", "ready", "commit"])
def test_nothing_is_prepared(talk, verb):
    """Nothing is done that was not planned before."""
    assert talk().ask(verb)["error"] == "InputError"


@pytest.mark.parametrize(
    "row",
    [
        ["teapot", {}],
        ["netns", {"node": "a"}],
        ["netns", {"node": "a", "name": 7}],
        ["netns", {"node": "a", "name": "x", "y": 1}],
        [],
        7,
    ],
)
def test_a_state_that_is_none(talk, host, row):
    """A state is validated again before anything is done."""
    one = talk()

    assert one.prepare([row])["error"] == "InputError"
    one.close()
    host.check()


def test_a_held_lock(talk, labs):
    """Another run on the same lab is told who holds it; one on another lab is not held up."""
    labs.used.add("other")
    one, two = talk(), talk()
    one.prepare(SMALL, holder="alice@desk")
    refused = two.prepare(SMALL)

    assert refused["error"] == "Locked"
    assert "alice@desk" in summary(refused)
    assert two.prepare([], lab="other")["reply"] == "prepare"


def test_the_lock_dies_with_its_holder(talk, labs):
    """A holder that is killed holds nothing."""
    one, two = talk(), talk()
    one.prepare(SMALL)
    os.kill(one.hello["pid"], signal.SIGKILL)
    one.close()

    assert two.prepare(SMALL)["reply"] == "prepare"
    two.close()
    labs.down(LAB)


@pytest.fixture
def foreign(run_command):
    """Make something of somebody else's by commands, see that it is untouched, and take it away."""
    after = []

    def make(commands, look, away):
        for argv in commands:
            run_command(*argv)
        after.extend([(look, run_command(*look)), (away, None)])

    yield make
    for argv, expected in after:
        assert expected in (None, run_command(*argv))


FOREIGN = {
    "a network namespace": (
        [["ip", "netns", "add", "t-a"], ["ip", "-n", "t-a", "link", "set", "lo", "up"]],
        ["ip", "-n", "t-a", "-d", "addr"],
        ["sh", "-c", "ip netns del t-a; umount /run/netns; rmdir /run/netns"],
    ),
    "a link on the host": (
        [["ip", "link", "add", "br0", "type", "bridge"]],
        ["ip", "-d", "link", "show", "dev", "br0"],
        ["ip", "link", "del", "br0"],
    ),
    "the other end's name": (
        [["ip", "link", "add", "a-eth0", "type", "bridge"]],
        ["ip", "-d", "link", "show", "dev", "a-eth0"],
        ["ip", "link", "del", "a-eth0"],
    ),
    "a bridge of another lab": (
        [["ip", "link", "add", "br0", "type", "bridge"], ["ip", "link", "set", "br0", "alias", "nsprov:tt/bridge:host/br0"]],
        ["ip", "-d", "link", "show", "dev", "br0"],
        ["ip", "link", "del", "br0"],
    ),
    "a subnet that overlaps": (
        [["ip", "link", "add", "lan0", "type", "bridge"], ["ip", "addr", "add", "10.50.0.77/16", "dev", "lan0"]],
        ["ip", "addr", "show", "dev", "lan0"],
        ["ip", "link", "del", "lan0"],
    ),
}


@pytest.mark.parametrize("case", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_ours_is_in_the_way(talk, foreign, case):
    """Somebody else's object of that name is a conflict: it is neither adopted nor deleted, and nothing of ours is left."""
    foreign(*case)
    one = talk()
    reply = one.prepare(SMALL)

    assert reply["error"] == "Conflict"
    assert reply["diagnostics"][0]["hint"]
    one.close()


THEIRS = [["mkdir", "-p", "/etc/netns/t-a"], ["sh", "-c", "mkdir -p /etc/netns && ln -s /etc /etc/netns/t-a"]]


@pytest.mark.parametrize("make", THEIRS)
def test_somebody_elses_etc_netns(talk, foreign, make):
    """A directory or a link of /etc/netns that is not ours is a conflict."""
    foreign([make], ["ls", "-lR", "/etc/netns"], ["rm", "-r", "/etc/netns"])
    node = ["netns", {"node": "a", "name": "t-a", "etc": [["motd", "a/etc/motd"]]}]
    one = talk()

    assert one.prepare([["file", {"owner": "a", "path": "/etc/motd"}], node])["error"] == "Conflict"
    one.close()


def test_every_conflict_is_told(talk, foreign):
    """All that is in the way is told at once."""
    foreign(*FOREIGN["a link on the host"])
    foreign(*FOREIGN["the other end's name"])
    refused = talk().prepare(SMALL)

    assert {"bridge:host/br0", "veth:a/eth0"} == {row["where"] for row in refused["diagnostics"]}


def test_a_netns_that_lost_its_mark(talk, labs, run_command):
    """A namespace without the mark is no longer ours: it is in the way, and not touched."""
    labs.up(LAB, *rows([NODE]))
    run_command("ip", "-n", "t-a", "link", "set", "lo", "alias", "mine")

    one = talk()

    assert one.prepare([NODE])["error"] == "Conflict"
    one.close()
    run_command("ip", "-n", "t-a", "link", "set", "lo", "alias", f"nsprov:{LAB}/netns:a")
    labs.down(LAB)


TAMPERED = {
    "writable by others": lambda: os.chmod(MANIFEST, 0o666),
    "a symbolic link": lambda: (os.rename(MANIFEST, f"{MANIFEST}.other"), os.symlink(f"{MANIFEST}.other", MANIFEST)),
    "a hard link": lambda: os.link(MANIFEST, f"{MANIFEST}.other"),
    "no JSON": lambda: rewrite("{"),
    "no object": lambda: rewrite("[]"),
    "no text": lambda: rewrite("\udcff\udcfe"),
    "an unknown kind": lambda: rewrite(json.dumps({"resources": [["teapot", {}]]})),
    "another type": lambda: rewrite(json.dumps({"resources": [["netns", {"node": "a", "name": 7}]]})),
    "another owner": lambda: os.chown(MANIFEST, 1, 1),
}


def rewrite(text):
    with open(MANIFEST, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_manifest_is_not_trusted(talk, labs, run_command, tamper):
    """Whatever is wrong with the record, the run is refused with a way out, and that way works."""
    labs.up(LAB, *rows(SMALL))
    tamper()
    one = talk()
    reply = one.prepare(SMALL)

    assert reply["error"] in ("KernelError", "InputError", "StepFailed")
    one.close()
    run_command("rm", "-f", MANIFEST, f"{MANIFEST}.other")
    labs.down(LAB)


@pytest.mark.parametrize("row", [[], ["netns"], "netns", 7, None, ["netns", []], [["netns"], {}], ["netns", {"node": []}]])
def test_a_record_of_the_wrong_shape(talk, labs, row):
    """A row that is no row is refused, and the agent lives on."""
    labs.up(LAB, *rows([NODE]))
    rewrite(json.dumps({"resources": [row]}))
    one = talk()

    assert one.prepare([NODE])["error"] in ("InputError", "KernelError")
    assert one.ask("labs")["labs"] is not None
    os.unlink(MANIFEST)
    one.close()
    labs.down(LAB)


def test_without_a_manifest_down_goes_by_the_marks(labs, host):
    """What bears the lab's mark is found in the kernel."""
    labs.up(LAB, *rows(SMALL))
    os.unlink(MANIFEST)
    labs.down(LAB)
    host.check()


def test_without_the_labs_file_system_down_goes_by_the_marks(labs, host, run_command):
    """Even when the whole directory was unmounted, namespaces, links and addresses are found."""
    labs.up(LAB, *rows(SMALL))
    run_command("umount", "-l", f"/run/nsprov/{LAB}")
    labs.down(LAB)
    host.check()


def test_up_writes_a_lost_manifest_anew(labs):
    """With nothing to change in the kernel the record is made again."""
    labs.up(LAB, *rows(SMALL))
    os.unlink(MANIFEST)
    done = labs.up(LAB, *rows(SMALL))

    assert done.actions() == {}
    assert os.path.exists(MANIFEST)
    labs.down(LAB)


def test_removed_from_the_file_after_a_lost_manifest(labs):
    """What bears the mark and is no longer asked for goes, though nothing says that it was applied."""
    labs.up(LAB, *rows(SMALL))
    os.unlink(MANIFEST)
    labs.up(LAB, *rows([NODE]))

    assert labs.plan(LAB, *rows([NODE])).actions() == {}
    assert "br0" not in subprocess.check_output(["ip", "-br", "link"], text=True)
    labs.down(LAB)


def test_audit_finds_what_is_left(talk, labs):
    """An audit looks at the machine and not at the record."""
    labs.up(LAB, *rows(SMALL))
    os.unlink(MANIFEST)
    left = {found["summary"] for found in talk().ask("audit", lab=LAB)["left"]}

    assert {'link "br0" is there', 'network namespace "t-a" is there'} <= left
    labs.down(LAB)
