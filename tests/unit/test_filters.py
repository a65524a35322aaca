"""Filters give what Ansible's give: one run of ansible-core's own templar over the same expressions."""

import pytest
from ansible.plugins.filter.core import FilterModule as Core
from ansible.plugins.filter.mathstuff import FilterModule as Math
from ansible.plugins.filter.urlsplit import FilterModule as Url
from jinja2 import Environment

from nsprov.render import filters, networks

ANSIBLE = {**Core().filters(), **Math().filters(), **Url().filters()}
MERGES = ("replace", "keep", "append", "prepend", "append_rp", "prepend_rp")
SETS = {"union", "intersect", "difference", "symmetric_difference"}
WITH_ENVIRONMENT = SETS | {"random", "extract"}
A, B = {"a": 1, "l": [1, 2], "m": {"x": 1, "y": 2}}, {"b": 2, "l": [2, 3], "m": {"y": 3}}
PEOPLE = [{"name": "ann", "keys": {"ssh": ["k1", "k2"]}}, {"name": "bob", "keys": {"ssh": ["k3"]}}]

CASES = [
    ("regex_replace", ("foobar", "o+", "0"), {}),
    ("regex_replace", ("FooBar", "o|b", "_"), {"ignorecase": True, "count": 2}),
    ("regex_replace", ("a\nb", "^", "> "), {"multiline": True}),
    ("regex_replace", ("localhost:80", r"^(?P<host>.+):(?P<port>\d+)$", r"\g<host>, \g<port>"), {}),
    ("regex_search", ("foo 42 bar", r"\d+"), {}),
    ("regex_search", ("foo", r"\d+"), {}),
    ("regex_search", ("server1 port 80", r"(\w+) port (?P<p>\d+)", r"\g<p>", "\\1"), {}),
    ("regex_search", ("A\nb", "^B$"), {"ignorecase": True, "multiline": True}),
    ("regex_findall", ("a1b22", r"\d+"), {}),
    ("regex_escape", ("^f.*o$",), {}),
    ("quote", ("it's",), {}),
    ("quote", ("",), {}),
    ("b64encode", ("Grüße",), {}),
    ("b64decode", ("R3LDvMOfZQ==",), {}),
    ("hash", ("x",), {}),
    ("hash", ("x", "sha256"), {}),
    ("md5", ("x",), {}),
    ("sha1", ("x",), {}),
    ("checksum", ("x",), {}),
    ("to_json", (A,), {}),
    ("to_json", ("Grüße",), {}),
    ("to_nice_json", (B,), {}),
    ("to_nice_json", (B,), {"indent": 2, "sort_keys": False}),
    ("from_json", ('{"a": [1, null]}',), {}),
    ("human_readable", (1,), {}),
    ("human_readable", (1024,), {}),
    ("human_readable", (123456789,), {"unit": "K"}),
    ("human_readable", (10000,), {"isbits": True}),
    ("human_to_bytes", ("1.5M",), {}),
    ("human_to_bytes", ("2", "K"), {}),
    ("human_to_bytes", ("10 GB",), {}),
    ("urlsplit", ("https://u:p@h:8/p/a?q=1#f",), {}),
    ("urlsplit", ("https://h:8/p", "port"), {}),
    ("strftime", ("%Y-%m-%d", 86400), {"utc": True}),
    ("to_datetime", ("2026-01-02 03:04:05",), {}),
    ("path_join", (["/etc", "a", "b"],), {}),
    ("path_join", ("x",), {}),
    ("splitext", ("a/b.tar.gz",), {}),
    ("basename", ("/a/b",), {}),
    ("dirname", ("/a/b",), {}),
    ("relpath", ("/a/b", "/a/c"), {}),
    ("commonpath", (["/a/b", "/a/c"],), {}),
    ("combine", (A, B), {}),
    ("combine", (A, B), {"recursive": True}),
    *(("combine", (A, B), {"recursive": True, "list_merge": how}) for how in MERGES),
    ("combine", ([A, B],), {}),
    ("dict2items", (A,), {}),
    ("dict2items", (A, "k", "v"), {}),
    ("items2dict", ([{"key": "a", "value": 1}, {"key": "b", "value": 2}],), {}),
    ("flatten", ([1, [2, [3, None]]],), {}),
    ("flatten", ([1, [2, [3]]], 1), {}),
    ("flatten", ([1, [None]],), {"skip_nulls": False}),
    ("extract", ("a", A), {}),
    ("extract", ("m", A, "y"), {}),
    ("extract", ("m", A, ["y"]), {}),
    ("subelements", (PEOPLE, "keys.ssh"), {}),
    ("subelements", ([{"a": 1}], "b"), {"skip_missing": True}),
    ("ternary", (True, "y", "n"), {}),
    ("ternary", (None, "y", "n", "none"), {}),
    ("ternary", ("", "y", "n"), {}),
    ("type_debug", ([1],), {}),
    ("split", ("a,b", ","), {}),
    ("split", (" a b ",), {}),
    *(("bool", (value,), {}) for value in ("yes", "On", "1", "no", "off", "0", 1, 0, True, None, "true", "False")),
    *((name, ([3, 1, 2, 3], [2, 4]), {}) for name in ("union", "intersect", "difference", "symmetric_difference")),
    ("zip", ([1, 2, 3], "ab"), {}),
    ("zip_longest", ([1, 2, 3], [1]), {"fillvalue": "-"}),
    ("product", ([1, 2], [3]), {}),
    ("permutations", ([1, 2, 3], 2), {}),
    ("combinations", ([1, 2, 3], 2), {}),
    ("log", (8, 2), {}),
    ("log", (100, 10), {}),
    ("pow", (2, 3), {}),
    ("root", (8, 3), {}),
    ("root", (9,), {}),
    ("random", (10,), {"seed": "x"}),
    ("random", ([1, 2, 3],), {"seed": "x"}),
]


def plain(value):
    """Compare what iterates as the list that a template would make of it."""
    if isinstance(value, (str, dict, int, float, bool, type(None))) or hasattr(value, "year"):
        return value
    return [plain(item) if isinstance(item, (list, tuple)) else item for item in value]


@pytest.mark.parametrize(("name", "given", "options"), CASES, ids=lambda value: str(value)[:40])
def test_a_filter_gives_what_ansibles_gives(name, given, options):
    first = [Environment()] if name in WITH_ENVIRONMENT else []
    expected = ANSIBLE[name](*first, *given, **options)
    found = filters.FILTERS[name](*given, **options)

    if name in SETS:  # Ansible's have no order
        found, expected = sorted(found), sorted(expected)
    assert plain(found) == plain(expected)


@pytest.mark.parametrize(
    ("value", "query", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1/24", "", "192.0.2.1/24"),
        ("nonsense", "", False),
        (True, "", False),
        (["192.0.2.1", "x", "2001:db8::1"], "", ["192.0.2.1", "2001:db8::1"]),
        ("192.0.2.7/24", "address", "192.0.2.7"),
        ("192.0.2.7/24", "network", "192.0.2.0"),
        ("192.0.2.7/24", "network/prefix", "192.0.2.0/24"),
        ("192.0.2.7/24", "netmask", "255.255.255.0"),
        ("192.0.2.7/24", "wildcard", "0.0.0.255"),
        ("192.0.2.7/24", "prefix", 24),
        ("192.0.2.7/24", "broadcast", "192.0.2.255"),
        ("192.0.2.7/24", "size", 256),
        ("192.0.2.7/24", 1, "192.0.2.1/24"),
        ("192.0.2.7/24", "-2", "192.0.2.254/24"),
        ("192.0.2.7/30", 9, False),
        ("192.0.2.7/24", "first_usable", "192.0.2.1"),
        ("192.0.2.7/24", "last_usable", "192.0.2.254"),
        ("192.0.2.6/31", "range_usable", "192.0.2.6-192.0.2.7"),
        ("192.0.2.7/24", "next_usable", "192.0.2.8"),
        ("192.0.2.1/24", "previous_usable", False),
        ("192.0.2.7", "revdns", "7.2.0.192.in-addr.arpa."),
        ("10.0.0.1", "private", "10.0.0.1"),
        ("10.0.0.1", "public", False),
        ("2001:db8::1/64", "version", 6),
        ("2001:db8::/64", "last_usable", "2001:db8::ffff:ffff:ffff:ffff"),
        ("192.0.2.7", "192.0.2.0/24", "192.0.2.7"),
        ("192.0.3.7", "192.0.2.0/24", False),
        ("192.0.2.0/24", "net", "192.0.2.0/24"),
        ("192.0.2.7/24", "net", False),
        ("192.0.2.0/24", "host/prefix", False),
        ("192.0.2.7/24", "type", "address"),
    ],
)
def test_what_is_asked_of_an_address(value, query, expected):
    assert networks.ipaddr(value, query) == expected


def test_networks_of_a_network():
    found = networks.FILTERS

    assert found["ipsubnet"]("192.168.0.0/16", 24) == 256
    assert found["ipsubnet"]("192.168.0.0/16", 24, 5) == "192.168.5.0/24"
    assert found["ipsubnet"]("192.168.0.0/16", 24, -1) == "192.168.255.0/24"
    assert found["ipsubnet"]("192.168.0.0/16", 24, 256) is False
    assert found["ipsubnet"]("192.168.144.5", 20) == "192.168.144.0/20"
    assert found["ipsubnet"]("2001:db8::/32", 64, 1 << 31) == "2001:db8:8000::/64"
    assert found["nthhost"]("10.0.0.0/8", 305) == "10.0.1.49"
    assert found["nthhost"]("10.0.0.0/30", 9) is False
    assert found["ipmath"]("192.168.1.5", 5) == "192.168.1.10"
    assert found["ipv4"](["192.0.2.1", "::1"]) == ["192.0.2.1"]
    assert found["ipv6"]("192.0.2.1") is False
    assert found["ipwrap"](["::1", "192.0.2.1", "x", "2001:db8::1/64"]) == ["[::1]", "192.0.2.1", "x", "[2001:db8::1]/64"]
    assert found["network_in_network"]("10.0.0.0/8", "10.1.0.0/16") is True
    assert found["network_in_network"]("10.1.0.0/16", "10.0.0.0/8") is False


@pytest.mark.parametrize(
    ("form", "expected"),
    [("", "1a:2b:3c:00:00:01"), ("linux", "1a:2b:3c:00:00:01"), ("cisco", "1a2b.3c00.0001"), ("win", "1a-2b-3c-00-00-01")],
)
def test_a_hardware_address_in_its_forms(form, expected):
    assert networks.hwaddr("1A2B3C-000001".replace("-", ""), form) == expected
    assert networks.hwaddr("nonsense", form) is False


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: networks.ipaddr("10.0.0.1", "nonsense"), ValueError),
        (lambda: networks.hwaddr("1a:2b:3c:00:00:01", "nonsense"), ValueError),
        (lambda: filters.combine(A, [1]), TypeError),
        (lambda: filters.combine(A, B, list_merge="x"), ValueError),
        (lambda: filters.human_to_bytes("many"), ValueError),
        (lambda: filters.regex_search("a", "(a)", "1"), ValueError),
        (lambda: filters.dict2items([1]), TypeError),
        (lambda: filters.subelements([{"a": 1}], "b"), KeyError),
    ],
)
def test_what_a_filter_cannot_do_is_said(call, kind):
    with pytest.raises(kind):
        call()
