"""What a node runs: every key of a workload, as it is written and as it comes out."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsprov.errors import InputError
from nsprov.init import confine, spec
from nsprov.kinds import workload
from nsprov.topology import Workload, load
from nsprov.topology.node_model import DEFAULT_CAPABILITIES
from nsprov.topology.process import CAPABILITIES


@pytest.fixture
def lab(tmp_path):
    """Give a function that loads a topology from text."""

    def make(text, /, **variables):
        path = tmp_path / "lab.yml"
        path.write_text(text, encoding="utf-8")
        return load(str(path), variables)

    return make


@pytest.fixture
def web(lab):
    """Give a function that loads one workload `web` of a node `a`, with more lines in it."""

    def make(text, command="command: sleep 1d"):
        lines = [command, *text.splitlines()]
        return lab("nodes:\n  a:\n    workloads:\n      web:\n" + "".join(f"        {line}\n" for line in lines)).nodes[
            "a"
        ].workloads["web"]

    return make


def test_a_workload_that_says_nothing_more(web):
    """A workload has the defaults of the kind that runs it."""
    found = web("")

    assert Workload(name="web", command=("sleep", "1d")) == found
    theirs = workload.Workload(node="a", name="web", command=("sleep", "1d"), capabilities=confine.USUAL)
    assert [getattr(theirs, field.name) for field in fields(found)] == [getattr(found, field.name) for field in fields(found)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python3 -m http.server 80", ("python3", "-m", "http.server", "80")),
        ("echo 'a  b' \"c d\" e\\ f", ("echo", "a  b", "c d", "e f")),
        ("echo $HOME * ~", ("echo", "$HOME", "*", "~")),
        ("[sh, -c, 'a && b > c']", ("sh", "-c", "a && b > c")),
        ('sh -c "a && b"', ("sh", "-c", "a && b")),
        ("[sleep, 5]", ("sleep", "5")),
        ("sleep {{ 2 + 3 }}", ("sleep", "5")),
        ("a\n  b", ("a", "b")),
        ("[a, '']", ("a", "")),
    ],
)
def test_commands(web, text, expected):
    """A string is split as a shell would, and a list is taken as it is; nothing is expanded."""
    lines = text if text.startswith("[") else json.dumps(text)

    assert expected == web("", command=f"command: {lines}").command


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("type: oneshot", {"type": "oneshot"}),
        ("cwd: /srv/", {"cwd": "/srv"}),
        ("user: 1000", {"user": "1000"}),
        ("user: 1000:1000", {"user": "1000:1000"}),
        ("user: www-data:adm", {"user": "www-data:adm"}),
        ("groups: [wheel, 5, adm, 5]", {"groups": ("5", "adm", "wheel")}),
        ("groups: adm", {"groups": ("adm",)}),
        ('umask: "0027"', {"umask": 0o027}),
        ("restart: always", {"restart": "always"}),
        ("restart: no", {"restart": "no"}),
        ("restart: on-failure:3", {"restart": "on-failure", "restart_max": 3}),
        ("restart: {max: 3}", {"restart": "on-failure", "restart_max": 3}),
        ("restart: {policy: always, delay: 100ms, max_delay: 5s, reset: 1m}",
         {"restart": "always", "backoff": 100, "backoff_max": 5000, "reset": 60_000}),
        ("restart: {delay: 5m}", {"restart": "on-failure", "backoff": 300_000, "backoff_max": 300_000}),
        ("rlimits: {nofile: 1024, core: 0, as: unlimited, memlock: 64K:8M, nproc: 5:unlimited}",
         {"rlimits": (("as", -1, -1), ("core", 0, 0), ("memlock", 65536, 8 << 20), ("nofile", 1024, 1024), ("nproc", 5, -1))}),
        ("capabilities: [net_raw, CAP_NET_ADMIN, NET_RAW]", {"capabilities": ("NET_ADMIN", "NET_RAW")}),
        ("capabilities: all", {"capabilities": ("all",)}),
        ("capabilities: none", {"capabilities": ()}),
        ("capabilities: []", {"capabilities": ()}),
        ("no_new_privileges: false", {"no_new_privileges": False}),
        ("seccomp: none", {"seccomp": "none"}),
        ("nice: -20", {"nice": -20}),
        ("stop_signal: SIGQUIT", {"stop_signal": "QUIT"}),
        ("stop_signal: int", {"stop_signal": "INT"}),
        ("stop_signal: 10", {"stop_signal": "USR1"}),
        ("grace: 0", {"grace": 0}),
        ("grace: 1.5s", {"grace": 1500}),
        ("log: {size: 4K, keep: 0}", {"log_size": 4096, "log_keep": 0}),
        ("log: {keep: 5}", {"log_keep": 5}),
    ],
)  # fmt: skip
def test_keys(web, line, expected):
    """A key comes out as the field that it means, in the smallest unit, sorted where order means nothing."""
    found = web(line)

    assert Workload(name="web", command=("sleep", "1d"), **expected) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{tcp: 80}", ("tcp", "80")),
        ("{tcp: 127.0.0.1:080}", ("tcp", "127.0.0.1:80")),
        ('{tcp: "[::0:1]:80"}', ("tcp", "[::1]:80")),
        ("{tcp: localhost:80}", ("tcp", "localhost:80")),
        ("{http: 'http://127.0.0.1'}", ("http", "http://127.0.0.1/")),
        ("{http: 'http://[::1]:8080/a?b=c'}", ("http", "http://[::1]:8080/a?b=c")),
        ("{http: 'http://localhost?b'}", ("http", "http://localhost/?b")),
        ("{exec: test -e /run/x}", ("exec", '["test", "-e", "/run/x"]')),
        ("{exec: [sh, -c, 'a | b']}", ("exec", '["sh", "-c", "a | b"]')),
        ("{file: /run/x}", ("file", "/run/x")),
    ],
)
def test_probes(web, text, expected):
    """Readiness and health are rows: the probe, and every setting of it."""
    found = web(f"ready: {text}\nhealth: {text}")

    assert (expected, ("interval", "1000"), ("timeout", "30000")) == found.ready
    assert found.health[:3] == found.ready
    assert found.health[3:] == (("retries", "3"), ("start_period", "0"), ("on_failure", "none"))


@pytest.mark.parametrize(
    ("text", "expected"), [("{log: '^ready in [0-9]+'}", ("log", "^ready in [0-9]+")), ("{notify: true}", ("notify", "1"))]
)
def test_what_is_told_once(web, text, expected):
    """A line of the log and a notification tell readiness."""
    assert web(f"ready: {text}").ready[0] == expected


def test_settings_of_probes(web):
    """Every setting can be given."""
    found = web(
        "ready: {tcp: 80, interval: 50ms, timeout: 1m}\n"
        "health: {tcp: 80, interval: 2s, timeout: 500ms, retries: 5, start_period: 1m, on_failure: restart}"
    )

    assert found.ready[1:] == (("interval", "50"), ("timeout", "60000"))
    assert [value for _, value in found.health[1:]] == ["2000", "500", "5", "60000", "restart"]


def test_the_environment(web):
    """Values are text as it is written: a version keeps its zero, and a mode its own."""
    found = web("env: {B: 1.10, A: x, C: 0027, D: true, E: 1e3, F: '', G: 5, H: 0x1F, I: -0.5, J: '{{ 1.5 }}', K: no}")

    assert dict(found.env) == {
        "A": "x", "B": "1.10", "C": "0027", "D": "true", "E": "1e3", "F": "", "G": "5", "H": "0x1F", "I": "-0.5", "J": "1.5",
        "K": "no",
    }  # fmt: skip
    assert sorted(found.env) == list(found.env)


def test_files_of_variables(web, tmp_path):
    """A file's values are taken as they stand, later files and then `env` win, and all from files is secret."""
    one = "\ufeff# a comment\n\n  A=1\nB = x\nC='quoted' # no comment\r\nD=\nE=a=b\nF=over\n  # another\n"
    (tmp_path / "one.env").write_text(one.replace("B = x\n", ""), encoding="utf-8", newline="")
    (tmp_path / "two.env").write_text("F=two\nG=two", encoding="utf-8")
    found = web("env_file: [one.env, two.env]\nenv: {G: mine, H: mine}")

    assert found.env == (("G", "mine"), ("H", "mine"))
    assert found.secrets == (("A", "1"), ("C", "'quoted' # no comment"), ("D", ""), ("E", "a=b"), ("F", "two"))


def test_secrets_are_not_shown(web, tmp_path):
    """What came from a file is not in what Python shows of a workload."""
    (tmp_path / "one.env").write_text("TOKEN=hunter2\n", encoding="utf-8")

    assert "hunter2" not in repr(web("env_file: one.env"))


@pytest.mark.parametrize("text", ["hunter2", "hunter2\n", "hunter2 = 5", "A=1\nhunter2", "X Y=hunter2"])
def test_a_broken_file_keeps_its_secret(web, tmp_path, text):
    """What is wrong with a file is said without what stands in it."""
    (tmp_path / "one.env").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        web("env_file: one.env")

    assert "hunter2" not in str([vars(told) for told in caught.value.diagnostics])


def test_dependencies(lab):
    """What is waited for has its full name, and the condition that fits it unless another one is given."""
    text = """
nodes:
  a:
    workloads:
      web:
        command: x
        depends_on: [setup, plain, ready, b/db]
      more:
        command: x
        depends_on: {setup: started, ready: started, a/both: }
      one: {command: x, depends_on: web}
      setup: {command: x, type: oneshot}
      plain: {command: x}
      ready: {command: x, ready: {tcp: 80}}
      both: {command: x, type: oneshot, ready: {tcp: 80}}
  b:
    workloads:
      db: {command: x, ready: {notify: true}}
"""
    found = lab(text).nodes["a"].workloads

    assert found["web"].after == (("a/plain", "started"), ("a/ready", "ready"), ("a/setup", "completed"), ("b/db", "ready"))
    assert found["more"].after == (("a/both", "ready"), ("a/ready", "started"), ("a/setup", "started"))
    assert found["one"].after == (("a/web", "started"),)
    assert found["setup"].after == ()


def test_dependencies_of_a_range(lab):
    """Each node of a range waits for its own, and for those that it names by its index."""
    text = """
nodes:
  "h[1:3]":
    workloads:
      db: {command: x}
      web: {command: x, depends_on: [db, "{{ 'h%d/db' % (index % 3 + 1) }}"]}
"""
    nodes = lab(text).nodes

    assert nodes["h3"].workloads["web"].after == (("h1/db", "started"), ("h3/db", "started"))


def test_a_long_chain(lab):
    """A thousand that wait for one another are no circle, and no recursion."""
    rows = "\n".join(f"      w{n}: {{command: x, depends_on: w{n + 1}}}" for n in range(1000))

    assert len(lab(f"nodes:\n  a:\n    workloads:\n{rows}\n      w1000: {{command: x}}\n").nodes["a"].workloads) == 1001


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_circles_are_found_when_there_are_any(tmp_path_factory, edges):
    """A lab is refused exactly if something waits for itself, and the circle that is told is one."""
    path = tmp_path_factory.mktemp("circles") / "lab.yml"
    after = {n: json.dumps([f"w{b}" for a, b in sorted(edges) if a == n]) for n in range(7)}
    rows = [f"      w{n}: {{command: x, depends_on: {names}}}" for n, names in after.items()]
    path.write_text("nodes:\n  a:\n    workloads:\n" + "\n".join(rows) + "\n", encoding="utf-8")
    reach = set(edges)
    for middle in range(7):
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c == middle}
    try:
        load(str(path))
    except InputError as problem:
        assert any(a == b for a, b in reach)
        for told in problem.diagnostics:
            circle = told.detail.removeprefix("The circle is ").removesuffix(".").split(" -> ")
            assert circle[0] == circle[-1]
            assert all((int(a[1:]), int(b[1:])) in edges for a, b in zip(circle, circle[1:]))
    else:
        assert not any(a == b for a, b in reach)


def test_defaults_of_workloads(lab):
    """Defaults lie under every workload, groups over them, and a node's own words over both; a probe replaces another."""
    text = """
defaults:
  workload: {restart: on-failure, ready: {tcp: 80, timeout: 5s}, env: {A: d, B: d, tcp: d}, grace: 3s}
groups:
  g:
    workloads:
      http: {command: x, env: {B: g, C: g}, ready: {file: /run/x}}
      log: {command: x}
nodes:
  a:
    group: g
    workloads:
      http: {env: {C: a, log: a}, grace: 1s}
      file: {command: y}
      exec2:
"""
    text = text.replace("      exec2:\n", "")
    found = lab(text).nodes["a"].workloads

    assert sorted(found) == ["file", "http", "log"]
    assert found["http"].env == (("A", "d"), ("B", "g"), ("C", "a"), ("log", "a"), ("tcp", "d"))
    assert found["http"].ready == (("file", "/run/x"), ("interval", "1000"), ("timeout", "5000"))
    assert (found["http"].grace, found["log"].grace, found["http"].restart) == (1000, 3000, "on-failure")
    assert found["file"].ready[0] == ("tcp", "80")


def test_a_workload_of_defaults_alone(lab):
    """A workload that is only named has what the defaults say."""
    text = "defaults: {workload: {command: x}}\nnodes: {a: {workloads: {w: }}}\n"

    assert lab(text).nodes["a"].workloads["w"].command == ("x",)


def test_what_waits_for_a_node_is_taken_on_trust_in_a_group(lab):
    """A group may say a thing that only its nodes complete, wherever a value can stand."""
    text = """
groups:
  g:
    workloads:
      web:
        command: "sleep {{ index }}"
        type: "{{ 'oneshot' if index == 2 else 'service' }}"
        env: {"N{{ index }}": "{{ index }}"}
        cwd: "/srv/{{ name }}"
        user: "{{ 1000 + index }}"
        groups: ["{{ index }}"]
        umask: "00{{ index }}"
        restart: "on-failure:{{ index }}"
        rlimits: {nofile: "{{ index }}"}
        nice: "{{ index }}"
        no_new_privileges: "{{ index == 1 }}"
        stop_signal: "{{ index }}"
        grace: "{{ index }}"
        ready: {tcp: "{{ 80 + index }}", interval: "{{ index }}s"}
        health: {exec: ["test", "{{ index }}"], retries: "{{ index }}", on_failure: "{{ 'kill' if index else 'none' }}"}
        log: {size: "{{ index }}M", keep: "{{ index }}"}
        depends_on: ["db{{ index }}"]
      "db{{ index }}": {command: x}
nodes:
  "h[1:2]": {group: g}
"""
    found = lab(text).nodes["h2"].workloads["web"]

    assert found == Workload(
        name="web", command=("sleep", "2"), type="oneshot", env=(("N2", "2"),), cwd="/srv/h2", user="1002", groups=("2",),
        umask=2, restart="on-failure", restart_max=2, rlimits=(("nofile", 2, 2),), nice=2, no_new_privileges=False,
        stop_signal="INT", grace=2000, ready=(("tcp", "82"), ("interval", "2000"), ("timeout", "30000")),
        health=(("exec", '["test", "2"]'), ("interval", "1000"), ("timeout", "30000"), ("retries", "2"), ("start_period", "0"),
                ("on_failure", "kill")),
        log_size=2 << 20, log_keep=2, after=(("h2/db2", "started"),),
    )  # fmt: skip


FULL = """
type: service
env: {A: 1}
cwd: /srv
user: nobody:nogroup
groups: [adm]
umask: "027"
restart: {policy: always, max: 5, delay: 1s, max_delay: 2s, reset: 3s}
rlimits: {nofile: 64:128, core: unlimited}
capabilities: [NET_RAW]
no_new_privileges: false
seccomp: none
nice: 5
stop_signal: HUP
grace: 1s
ready: {log: "ready [0-9]"}
health: {http: "http://127.0.0.1:80/", on_failure: kill}
log: {size: 2G, keep: 100}
"""


@pytest.mark.parametrize("text", ["", FULL.strip(), "capabilities: all\nready: {notify: true}\ngrace: 24d"])
def test_init_takes_what_comes_out(web, text):
    """What the language accepts, the init that runs it accepts too."""
    found = web(text)
    fields_of_it = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "name"}

    assert spec.parse(json.loads(json.dumps(fields_of_it))).command == ("sleep", "1d")


def test_capabilities_are_the_kernels():
    """All 41 of them, by the numbers 0 to 40, as init knows them."""
    assert len(CAPABILITIES) == 41
    assert set(confine.CAPABILITIES) == CAPABILITIES
    assert set(DEFAULT_CAPABILITIES) <= CAPABILITIES
