"""Workloads that end, crash, are stopped, killed, restarted and removed; as PID 1 and as a subreaper."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nsprov.errors import KernelError

pytestmark = pytest.mark.root
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"
UP = {"ready": [["log", "up"]]}
TWICE = {"restart": "on-failure", "restart_max": 2, "backoff": 20}
QUICK = {"backoff": 20, "backoff_max": 80}


def states(node, name):
    status = node.status(name)
    return status["state"], status["exit"], status["signal"]


ENDS = [
    ("exit 0", {"type": "oneshot"}, "done", "exited with code 0"),
    ("exit 3", {"type": "oneshot"}, "failed", "exited with code 3"),
    ("exit 0", {}, "stopped", "exited with code 0"),
    ("exit 4", {}, "failed", "exited with code 4"),
    ("kill -9 $$", {}, "failed", "killed by SIGKILL"),
    ("kill -40 $$", {}, "failed", "killed by signal 40"),
    ("exit 0", {"restart": "on-failure", **QUICK}, "stopped", "exited with code 0"),
    ("exit 5", TWICE, "failed", "given up after 2 restarts: exited with code 5"),
    ("exit 0", {"restart": "always", "restart_max": 1, **QUICK}, "stopped", "exited with code 0"),
]


def test_how_it_ends(node):
    """The state and the reason say it, and so do the code and the signal."""
    for number, (script, spec, _, _) in enumerate(ENDS):
        node.set(f"w{number}", "/bin/sh", "-c", script, **spec)
    for number, (script, spec, state, reason) in enumerate(ENDS):
        status = node.wait(f"w{number}")

        assert (status["state"], status["reason"]) == (state, reason)
        assert status["restarts"] == spec.get("restart_max", 0)
        assert status["pid"] is None
        assert status["exit"] == (None if "kill" in script else int(script[-1]))


def test_pauses_between_restarts(node):
    """They double up to the longest; a good run begins anew."""
    node.set("w", "date +%s%N; exit 1", restart="always", backoff=50, backoff_max=200, restart_max=5, reset=10000)
    node.wait("w")
    times = [int(line.split()[3]) / 1e6 for line in node.log("w")]
    pauses = [after - before for before, after in zip(times, times[1:])]

    assert len(pauses) == 5
    for pause, least in zip(pauses, (50, 100, 200, 200, 200)):
        assert least <= pause < least + 150, pauses
    node.set("v", "sleep 0.1; exit 1", restart="always", backoff=20, restart_max=1, reset=50)
    assert node.until("v", lambda status: status["restarts"] >= 4)


def test_backoff_can_be_seen_and_stopped(node):
    """It says what it waits for."""
    node.set("w", "exit 7 ", restart="always", backoff=60000)
    status = node.until("w", lambda status: status["state"] == "backoff")

    assert (status["exit"], status["reason"], status["pid"]) == (7, "exited with code 7", None)
    assert node.ask("stop", "w")["status"]["state"] == "stopped"
    node.set("v", "no-such", restart="always", backoff=60000)
    for verb in ("start", "restart"):
        with pytest.raises(KernelError, match='"v" did not start: "no-such" was not found'):
            node.ask(verb, "v")


def test_stop_and_start(subreaper):
    """A stop is answered when it is gone, whatever the policy; a start when it runs."""
    node = subreaper
    node.set("w", "sleep 1000", restart="always", backoff=1)
    first = node.wait("w", "ready")["pid"]
    status = node.ask("stop", "w")["status"]

    assert (status["state"], status["signal"], status["pid"]) == ("stopped", signal.SIGTERM, None)
    assert not os.path.exists(f"/proc/{first}")
    time.sleep(0.05)
    assert node.ask("stop", "w")["status"]["state"] == "stopped"
    second = node.ask("start", "w")["status"]
    assert (second["state"], second["restarts"]) == ("running", 0)
    assert node.ask("start", "w")["status"]["pid"] == second["pid"]
    third = node.ask("restart", "w")["status"]
    assert third["pid"] not in (first, second["pid"])
    assert not os.path.exists(f"/proc/{second['pid']}")
    assert node.ask("remove", "w") == {"ok": True}
    assert node.ask("hello")["workloads"] == {}
    assert node.ask("remove", "w") == {"ok": True}
    for verb in ("stop", "start", "restart", "kill"):
        with pytest.raises(KernelError, match="there is no workload 'w'"):
            node.ask(verb, "w")


def test_grace(node):
    """Who does not hear is killed when the time is up, and not before."""
    node.set("w", STUBBORN, grace=300, **UP)
    node.wait("w", "ready")
    began = time.monotonic()
    status = node.ask("stop", "w")["status"]

    assert 0.3 <= time.monotonic() - began < 1.5
    assert (status["state"], status["signal"]) == ("stopped", signal.SIGKILL)
    node.set("v", STUBBORN, grace=0, **UP)
    node.wait("v", "ready")
    assert node.ask("stop", "v")["status"]["signal"] == signal.SIGKILL


def test_the_stop_signal(node):
    """It is the workload's own, and goes to its first process; one that is stopped is woken for it."""
    script = "trap 'echo bye; exit 0' USR1; echo up; kill -STOP $$; while :; do sleep 0.02; done"
    node.set("w", script, stop_signal="USR1", **UP)
    node.wait("w", "ready")
    status = node.ask("stop", "w")["status"]

    assert (status["state"], status["exit"]) == ("stopped", 0)
    assert node.log("w")[-1].endswith(" bye")


def test_kill(node, eventually):
    """A signal by name or number; the policy decides what comes of it."""
    node.set("w", "trap 'echo got' HUP; echo up; while :; do sleep 0.02; done", restart="on-failure", **QUICK, **UP)
    first = node.wait("w", "ready")["pid"]
    node.ask("kill", "w", signal="SIGHUP")
    eventually(lambda: node.log("w")[1:])
    node.ask("kill", "w", signal=9)
    second = node.until("w", lambda status: status["pid"] not in (None, first) and status["state"] == "ready")

    assert second["restarts"] == 1
    for word in ("NONE", 0, 1000, None, [], "9x"):
        with pytest.raises(KernelError, match="is not a signal"):
            node.ask("kill", "w", signal=word)
    node.ask("stop", "w")
    with pytest.raises(KernelError, match='"w" does not run'):
        node.ask("kill", "w", signal="TERM")


def test_set_again(subreaper):
    """The same spec changes nothing; another one ends the old run first; what is down comes up; a oneshot stays done."""
    node = subreaper
    first = node.set("w", "sleep 1000")
    assert node.set("w", "sleep 1000", state="down")["pid"] == first["pid"]
    node.set("w", "sleep 2000")
    second = node.until("w", lambda status: status["pid"] not in (None, first["pid"]))

    assert second["spec"]["command"][-1] == "sleep 2000"
    assert not os.path.exists(f"/proc/{first['pid']}")
    node.ask("stop", "w")
    assert node.set("w", "sleep 2000")["state"] in ("starting", "running")
    node.said("once", "/bin/date", "+%N")
    before = node.log("once")
    node.set("once", "/bin/date", "+%N", type="oneshot")
    assert (node.status("once")["state"], node.log("once")) == ("done", before)
    node.ask("start", "once")
    node.wait("once")
    assert len(node.log("once")) == 2


def test_a_bad_spec_changes_nothing(node):
    """What runs goes on."""
    first = node.set("w", "sleep 1000")
    with pytest.raises(KernelError, match="user: "):
        node.set("w", "sleep 1000", user="+0")
    with pytest.raises(KernelError, match="name of a workload"):
        node.set("../w", "sleep 1000")
    with pytest.raises(KernelError, match="not a mapping"):
        node.ask("set", "v", spec=[])
    with pytest.raises(KernelError, match="not a mapping"):
        node.ask("set", "v")

    assert node.status("w")["pid"] == first["pid"]
    assert list(node.ask("hello")["workloads"]) == ["w"]


@pytest.mark.parametrize("fixture", ["node", "subreaper"])
def test_all_of_a_workload_ends(request, fixture, eventually):
    """Its children, those that ignore signals, and orphans of its session, when it is stopped and when it dies."""
    node = request.getfixturevalue(fixture)
    script = "trap '' TERM; (trap '' TERM; sleep 1000) & (sleep 1001 & sleep 1002) & echo $$; exec sleep 1003"
    node.set("w", "/bin/sh", "-c", script, grace=100, restart="always", backoff=10)
    node.wait("w", "ready")
    eventually(lambda: sleepers() == {"1000", "1001", "1002", "1003"})
    node.ask("kill", "w", signal="KILL")
    node.until("w", lambda status: status["restarts"] == 1 and status["state"] == "running")
    eventually(lambda: sleepers() == {"1000", "1001", "1002", "1003"})
    node.ask("stop", "w")

    assert sleepers() == set()


def sleepers():
    """Give the arguments of all `sleep`s, as often as they are there."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep" and words[1].startswith(b"100"):
            found.append(words[1].decode())
    assert len(found) == len(set(found)), found
    return set(found)


def test_a_oneshot_may_leave_something_behind(subreaper):
    """That is what it may be for; it ends with the workload."""
    node = subreaper
    node.said("setup", "sleep 1004 & echo started")

    assert sleepers() == {"1004"}
    node.ask("remove", "setup")
    assert sleepers() == set()


@pytest.mark.parametrize("fixture", ["node", "subreaper"])
def test_zombies_are_reaped(request, fixture, eventually):
    """Those of a workload that makes orphans and waits for none."""
    node = request.getfixturevalue(fixture)
    node.set("maker", "i=0; while [ $i -lt 300 ]; do (sleep 0 &) ; i=$((i+1)); done; echo made; exec sleep 1005")
    eventually(lambda: node.log("maker"))

    def zombies():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    words = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if words[0] == "Z" and int(words[1]) == node.pid:
                found.append(pid)
        return found

    eventually(lambda: not zombies())
    assert node.alive()


def test_shutdown_in_order(node):
    """First those that come after others, then these, then the init itself; nothing starts any more."""
    script = "trap 'sleep 0.2; date +%s%N; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    spec = {"restart": "always", "backoff": 1, "ready": [["log", "up"], ["interval", "10"]]}
    for name, after in (("db", []), ("app", ["db"]), ("web", ["app"]), ("other", []), ("gone", ["nothing"])):
        node.set(name, script, after=[[f"node/{other}", "ready"] for other in after], **spec)
    for name in ("db", "app", "web", "other", "gone"):
        node.wait(name, "ready")
    began = time.monotonic()
    assert node.ask("shutdown") == {"ok": True}
    took = time.monotonic() - began
    times = {name: int(node.log(name)[-1].split()[3]) for name in ("db", "app", "web", "other")}

    assert times["web"] < times["app"] < times["db"]
    assert times["other"] < times["app"]
    assert 0.6 <= took < 2.5
    with pytest.raises(KernelError, match="does not answer"):
        node.ask("hello")


def test_nothing_starts_while_it_shuts_down(node):
    """A start in between is refused, and one that hangs is killed in the end."""
    node.set("w", STUBBORN, grace=500, **UP)
    node.set("v", "sleep 1000")
    node.wait("w", "ready")
    os.kill(node.pid, signal.SIGTERM)
    time.sleep(0.1)
    with pytest.raises(KernelError, match="is being shut down"):
        node.set("x", "sleep 1000")
    with pytest.raises(KernelError, match="is being shut down"):
        node.ask("start", "v")


@pytest.mark.parametrize("fixture", ["node", "subreaper"])
def test_sigterm_from_outside(request, fixture, eventually):
    """It is a request to shut down."""
    node = request.getfixturevalue(fixture)
    node.set("w", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", **UP)
    node.wait("w", "ready")
    os.kill(node.pid, signal.SIGTERM)
    eventually(lambda: not os.path.exists(f"/proc/{node.pid}"))

    assert node.log("w")[-1].endswith(" bye")


def test_signals_from_inside(node):
    """A workload cannot make PID 1 leave, not by any signal."""
    node.said("w", "for s in 1 2 3 9 10 12 13 14 15 17 19 20 34 64; do kill -$s 1; done; sleep 0.1")

    assert node.alive()


def test_signals_to_a_subreaper(subreaper):
    """What is not meant for it does not hurt it."""
    for number in (1, 2, 3, 10, 12, 13, 14, 17, 20, 34, 64):
        os.kill(subreaper.pid, number)

    assert subreaper.alive()
