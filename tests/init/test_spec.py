"""A workload's spec: every field is checked, and what is wrong is said in words."""

from __future__ import annotations

import json

import pytest

from nsprov.init import confine, spec
from nsprov.kinds.workload import Workload
from nsprov.plan.resource import encode
from nsprov.topology.node_model import DEFAULT_CAPABILITIES

GOOD = {"command": ["sleep", "1"]}


def test_what_the_kind_sends_is_understood():
    """The defaults of both sides are the same."""
    sent = json.loads(json.dumps(encode(Workload(node="n", name="w", command=("sleep", "1")))))

    assert spec.parse(sent) == spec.parse(GOOD)


def test_the_usual_capabilities():
    """A user other than root gets nothing of what was only not taken away."""
    assert set(confine.USUAL) == set(DEFAULT_CAPABILITIES)


def test_units():
    """Milliseconds become seconds, secrets join the environment, signals become numbers."""
    found = spec.parse({**GOOD, "grace": 1500, "env": [["A", "1"]], "secrets": [["B", "2"]], "stop_signal": "INT"})

    assert (found.grace, found.environment, found.stop_signal) == (1.5, {"A": "1", "B": "2"}, 2)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("command", [], "command: there is no command"),
        ("command", [""], "command: there is no command"),
        ("command", "sleep", "is not a list"),
        ("command", [1], "is not a text"),
        ("command", ["a\0b"], "zero byte"),
        ("command", ["\ud800"], "surrogates not allowed"),
        ("type", "timer", "none of service, oneshot"),
        ("env", [["A=B", "1"]], "cannot be the name"),
        ("env", [["", "1"]], "cannot be the name"),
        ("env", [["A"]], "not a list of pairs"),
        ("env", {"A": "1"}, "is not a list"),
        ("cwd", "tmp", "does not begin with /"),
        ("user", "+0", "user: "),
        ("groups", ["0x0"], "groups: "),
        ("umask", 0o1000, "between 0 and 511"),
        ("umask", True, "is not a number"),
        ("umask", "022", "is not a number"),
        ("restart", "sometimes", "none of no, on-failure, always"),
        ("restart_max", -1, "between 0"),
        ("backoff", 1 << 40, "between 0"),
        ("backoff", 1.5, "is not a number"),
        ("rlimits", [["nofile", 10, 5]], "cannot be 10"),
        ("rlimits", [["nofile", -1, 5]], "cannot be -1"),
        ("rlimits", [["files", 1, 1]], "none of as"),
        ("rlimits", [["nofile", 1]], "soft and a hard"),
        ("capabilities", ["CAP_CHOWN"], "no capability"),
        ("capabilities", ["all", "CHOWN"], "no capability"),
        ("no_new_privileges", 1, "neither true nor false"),
        ("seccomp", "strict", "none of default, none"),
        ("nice", 20, "between -20 and 19"),
        ("stop_signal", "FOO", "is not a signal"),
        ("stop_signal", "IGN", "is not a signal"),
        ("stop_signal", 0, "is not a signal"),
        ("stop_signal", 999, "is not a signal"),
        ("ready", [["tcp", "80"], ["file", "/x"]], "exactly one"),
        ("ready", [["interval", "5"]], "exactly one"),
        ("ready", [["udp", "80"]], "none of tcp"),
        ("ready", [["tcp", "0"]], "no port"),
        ("ready", [["tcp", "70000"]], "no port"),
        ("ready", [["tcp", "example.org:80"]], "not an address"),
        ("ready", [["tcp", "1.2.3:80"]], "not an address"),
        ("ready", [["http", "https://127.0.0.1/"]], "does not begin with http://"),
        ("ready", [["http", "http://127.0.0.1/a b"]], "is not a URL"),
        ("ready", [["http", "http://127.0.0.1/\r\nX: y"]], "is not a URL"),
        ("ready", [["exec", "true"]], "ready: "),
        ("ready", [["exec", '"true"']], "not a JSON list"),
        ("ready", [["exec", "[]"]], "not a JSON list"),
        ("ready", [["file", "x"]], "does not begin with /"),
        ("ready", [["log", "("]], "not a pattern"),
        ("ready", [["log", "\\N{DIGIT ONE}("]], "not a pattern"),
        ("ready", [["tcp", "80"], ["timeout", "soon"]], "not a number"),
        ("health", [["log", "x"]], "none of tcp"),
        ("health", [["notify", "1"]], "none of tcp"),
        ("health", [["tcp", "80"], ["on_failure", "panic"]], "none of none, restart, kill"),
        ("after", ["n/a"], "is not a list"),
        ("log_size", 10, "between 4096"),
        ("log_keep", -1, "between 0"),
    ],
)
def test_what_is_wrong_is_said(field, value, words):
    """The words begin with the field."""
    with pytest.raises(ValueError, match=rf"^{field}: ") as caught:
        spec.parse({**GOOD, field: value})

    assert words in str(caught.value)


@pytest.mark.parametrize("given", [None, [], "x", 1])
def test_what_is_no_spec(given):
    """Only a mapping is one."""
    with pytest.raises(TypeError, match="not a mapping"):
        spec.parse(given)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("80", (("127.0.0.1", "::1"), 80)),
        ("localhost:80", (("127.0.0.1", "::1"), 80)),
        ("10.0.0.1:80", (("10.0.0.1",), 80)),
        ("[fe80::1]:80", (("fe80::1",), 80)),
    ],
)
def test_addresses(word, value):
    """A port is of the node itself."""
    assert spec.parse({**GOOD, "ready": [["tcp", word]]}).ready.value == value


def test_urls():
    """The port is 80 unless it is said, and the path is /."""
    place, request = spec.parse({**GOOD, "ready": [["http", "http://[::1]"]]}).ready.value

    assert place == (("::1",), 80)
    assert request.startswith(b"GET / HTTP/1.0\r\nHost: [::1]\r\n")
    assert spec.parse({**GOOD, "ready": [["http", "http://localhost:8080/a?b=c"]]}).ready.value[0][1] == 8080


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "a\n", "a b", "é", "a" * 65, None, 1, ["a"]])
def test_names_that_are_no_names(name):
    """A name is that of a file too."""
    with pytest.raises(ValueError, match="name of a workload"):
        spec.workload_name(name)


@pytest.mark.parametrize("name", ["a", "web-1", "a.b_c", "9"])
def test_names(name):
    """What a file and a socket can be called."""
    assert spec.workload_name(name) == name
