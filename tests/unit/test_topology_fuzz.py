"""Whatever stands where in a file, what is wrong is said in the form that everything is said in, and nothing else happens."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from nsprov.errors import InputError
from nsprov.topology import load

WORKLOAD = {
    "command": "sleep 1d", "type": "service", "env": {"A": 1}, "env_file": "x.env", "cwd": "/", "user": "0", "groups": ["adm"],
    "umask": "022", "restart": {"policy": "always", "max": 1, "delay": "1s", "max_delay": "2s", "reset": "1s"},
    "rlimits": {"nofile": "1:2"}, "capabilities": ["KILL"], "no_new_privileges": True, "seccomp": "none", "nice": 1,
    "stop_signal": "TERM", "grace": "1s", "ready": {"tcp": 80, "interval": "1s", "timeout": "1s"},
    "health": {"http": "http://127.0.0.1/", "interval": 1, "timeout": 1, "retries": 1, "start_period": 1, "on_failure": "kill"},
    "depends_on": {"db": "started"}, "log": {"size": "1M", "keep": 1},
}  # fmt: skip
NODE = {
    "namespaces": ["net", "mnt", "uts", "user", "time"],
    "user": {"uids": ["0:100000:1"], "gids": ["0:100000:1"], "allow_host_ids": False},
    "time": {"boottime": "1d", "monotonic": 1},
    "rootfs": {"path": "/srv", "writable": "yes"},
    "mounts": [{"source": "/a", "target": "/b", "readonly": True}, "/c:/d"],
    "limits": {"cpu": 1, "memory": "1G", "pids": 5, "io": {"/dev/vda": {"rbps": 1, "riops": 1}}, "cpuset": "0"},
    "workloads": {"web": WORKLOAD, "db": {"command": ["x"], "depends_on": ["other"]}, "other": {"command": "x"}},
}
TOPOLOGY = {
    "defaults": {"workload": {"grace": "1s"}, "node": {"limits": {"cpu": 1}}},
    "groups": {"g": NODE},
    "nodes": {"a": {"group": "g"}, "b[1:2]": {**NODE, "user": "auto"}, "c": {"attach": {"pid": 5}}},
}
STRANGE = [
    *(None, True, 0, -1, 5, 1.5, 10**30, "", "x", "0", "-", "/", "//", "a:b", "a b", "auto", "all", "host", "\0", "\n"),
    *("é" * 70, "{{ index }}", "{{ name }}", "{{ nothing }}", "{{"),
    *([], {}, [None], [[]], ["x"], [5, "x"], {"a": 1}, {"tcp": 1}, {"": None}),
]


def places(tree, path=()):
    """Give the path of every value in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = list(places(TOPOLOGY))


def put(tree, path, value, *, key=False):
    """Give a tree with one value replaced, or one key by the value's text."""
    if not path:
        return value
    if isinstance(tree, list):
        return [put(item, path[1:], value, key=key) if place == path[0] else item for place, item in enumerate(tree)]
    if key and len(path) == 1:
        return {str(value) if name == path[0] else name: item for name, item in tree.items()}
    return {name: put(item, path[1:], value, key=key) if name == path[0] else item for name, item in tree.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(STRANGE), st.booleans()), min_size=1, max_size=3))
def test_anything_anywhere(tmp_path_factory, changes):
    """A value that does not belong where it stands is refused in words, or means something."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "x.env").write_text("SECRET=1\n", encoding="utf-8")
    tree = TOPOLOGY
    for path, value, key in changes:
        if path in set(places(tree)):
            tree = put(tree, path, value, key=key)
    file = folder / "lab.yml"
    file.write_text(json.dumps(tree, indent=1, ensure_ascii=False).replace("\\u0000", "\\0"), encoding="utf-8")
    try:
        load(str(file))
    except InputError as problem:
        for told in problem.diagnostics:
            assert 0 < len(told.summary) <= 60, told
            assert told.hint, told
            assert told.where.startswith(f"{file}:"), told
            assert "SECRET" not in told.summary + told.detail, told


def test_the_tree_is_right_as_it_stands(tmp_path):
    """The tree that is changed above has nothing wrong in it, so that each of its parts is looked at."""
    (tmp_path / "x.env").write_text("SECRET=1\n", encoding="utf-8")
    (tmp_path / "lab.yml").write_text(json.dumps(TOPOLOGY), encoding="utf-8")

    assert list(load(str(tmp_path / "lab.yml")).nodes) == ["a", "b1", "b2", "c"]
