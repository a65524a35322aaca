"""The shipped topologies load, and the published schema accepts them and refuses what the loader refuses."""

import glob
import os
import subprocess
import sys

import jsonschema
import pytest

import nsprov.topology
from nsprov.topology import json_schema, load
from nsprov.topology.source import read

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = sorted(glob.glob(os.path.join(ROOT, "topologies", "*.yml")))


@pytest.fixture(scope="module")
def validator():
    """Give a validator of the published schema."""
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=os.path.basename)
def test_shipped_topologies(validator, path):
    """Every shipped topology loads, and its text fits the schema."""
    assert load(path).nodes
    assert [error.message for error in validator.iter_errors(read(path).value)] == []


def test_the_right_ones_are_shipped():
    """The topologies that the documentation speaks of are there."""
    names = {os.path.basename(path) for path in SHIPPED}

    assert {"bridge.yml", "router-line.yml", "leaf-spine.yml", "star.yml", "blue.yml", "green.yml"} <= names


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodez": {}},
        {"nodes": {"a": {"interfaces": {"eth0": {"adress": "x"}}}}},
        {"bridges": {"br0": {"stp": "no"}}},
        {"bridges": {"br0": {"mtu": "1500"}}},
        {"links": [["a:b"]]},
        {"links": [{"endpoints": ["a:b", "c:d"], "impair": {}}]},
        {"nodes": {"a": {"routes": [{"via": "10.0.0.1"}]}}},
        {"nodes": {"a": {"routes": [{"to": "default", "type": "wrong"}]}}},
        {"nodes": {"a": {"namespaces": ["net", "neet"]}}},
        {"nodes": {"a": {"attach": {"container": "x"}}}},
        {"nodes": {"a": {"user": {"maps": "auto"}}}},
        {"nodes": {"a": {"user": 5}}},
        {"nodes": {"a": {"time": {"realtime": "1d"}}}},
        {"nodes": {"a": {"rootfs": {"path": "/x", "writable": True}}}},
        {"nodes": {"a": {"mounts": [{"source": "/a"}]}}},
        {"nodes": {"a": {"limits": {"pids": "5"}}}},
        {"nodes": {"a": {"limits": {"io": {"/dev/vda": {"iops": 5}}}}}},
        {"nodes": {"a": {"workloads": {"w": {"comand": "x"}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": 5}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": []}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": "x", "type": "daemon"}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": "x", "health": {"log": "x"}}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": "x", "depends_on": {"v": "done"}}}}}},
        {"defaults": {"workload": {"comand": "x"}}},
        {"groups": {"g": {"workloads": ["x"]}}},
    ],
)
def test_the_schema_refuses(validator, wrong):
    """The schema refuses unknown keys, wrong types and wrong words."""
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"bridges": {"br0": {"mtu": "{{ m }}", "stp": "{{ s }}"}, "br1": None}},
        {"links": [["a:b", "c:d"], {"endpoints": ["a:b", "c:d"], "addresses": "none"}]},
        {"nodes": {"a": {"sysctls": {"net.a": 1, "net.b": "x"}, "group": ["x"]}}, "vars": {"any": [1, {"x": 2}]}},
        {"nodes": {"a": {"namespaces": "all"}, "b": {"namespaces": ["net", "{{ x }}"]}, "c": {"namespaces": "net"}}},
        {"nodes": {"a": {"user": "auto"}, "b": {"user": ["0:1000:1"]}, "c": {"user": {"map": "auto"}}, "d": {"user": None}}},
        {"nodes": {"a": {"user": {"uids": "0:1:1", "gids": ["0:1:1"], "allow_host_ids": "{{ x }}"}, "time": {"boottime": 5}}}},
        {"nodes": {"a": {"rootfs": "host"}, "b": {"rootfs": {"path": "/x", "writable": "no"}}, "c": {"rootfs": "{{ x }}"}}},
        {"nodes": {"a": {"mounts": ["/a:/b", {"source": "/a", "target": "/b", "readonly": True}]}}},
        {"nodes": {"a": {"limits": {"cpu": 0.5, "memory": "1G", "pids": "{{ n }}", "io": {"/dev/vda": {"rbps": 5}}}}}},
        {"nodes": {"a": {"attach": {"pid": 5}}, "b": {"attach": {"pid": "{{ p }}"}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": "x", "restart": "always", "depends_on": "v", "ready": {"tcp": 80}}}}}},
        {"nodes": {"a": {"workloads": {"w": {"command": ["x", 5], "restart": {"max": 3}, "depends_on": {"v": None}}}}}},
        {"nodes": {"a": {"workloads": {"w": None, "v": {"env": {"A": 1, "B": True, "C": 1.5}, "capabilities": "all"}}}}},
        {"defaults": {"workload": {"restart": "on-failure"}}},
    ],
)
def test_the_schema_accepts(validator, right):
    """The schema accepts every form that the language has, Jinja in place of numbers too."""
    assert validator.is_valid(right)


def test_public_names():
    """The package exports what it says, sorted."""
    assert sorted(nsprov.topology.__all__) == nsprov.topology.__all__
    assert all(hasattr(nsprov.topology, name) for name in nsprov.topology.__all__)


def test_importing_is_cheap():
    """Importing the package loads none of the libraries that only loading a file needs."""
    script = "import sys, nsprov.topology; print([n for n in ('pydantic', 'yaml', 'jinja2') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_a_thousand_nodes():
    """A range of a thousand nodes loads; bench/ measures how fast."""
    path = os.path.join(ROOT, "topologies", "star.yml")

    assert len(load(path, {"n": 1000}).nodes) == 1000
