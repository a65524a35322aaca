"""Rendering: strict, bounded, and nothing can add a line to a system file."""

import pytest

from nsprov.errors import InputError
from nsprov.render import MAX_OUTPUT, render_builtin, render_file, render_scalar, variables_of


def test_scalars():
    """A scalar is filled in, trailing newline kept."""
    assert render_scalar("{{ lan }}.{{ index + 1 }}\n", {"lan": "10.0.0", "index": 2}) == "10.0.0.3\n"


@pytest.mark.parametrize(
    ("text", "summary", "hint"),
    [
        ("{{ lam }}", 'variable "lam" is undefined', 'use "lan"'),
        ("{{ zzz }}", 'variable "zzz" is undefined', 'define it under "vars", or give it with -e zzz=...'),
        ("{{ lan.x }}", "an expression asks for what is undefined", "check its spelling"),
        ("{{ lan", "the Jinja syntax is wrong", "check the braces and the quotes"),
        ("{{ 'a' * 99999999 }}", "the expression cannot be evaluated", "check the values it uses"),
        ("{{ 9 ** 9999 }}", "the expression cannot be evaluated", "check the values it uses"),
        ("{{ [].append(1) }}", "the expression cannot be evaluated", "check the values it uses"),
        ("{{ lan | nofilter }}", "the Jinja syntax is wrong", "check the braces and the quotes"),
    ],
)
def test_failures(text, summary, hint):
    """What cannot be rendered is said in the user's words, with a way out."""
    with pytest.raises(InputError) as caught:
        render_scalar(text, {"lan": "10.0.0"})

    assert (summary, hint) == (caught.value.diagnostics[0].summary, caught.value.diagnostics[0].hint)


def test_the_output_is_bounded():
    """A loop stops when it has given too much."""
    with pytest.raises(InputError) as caught:
        render_scalar("{% for i in range(90000) %}{{ '%050d' % i }}{% endfor %}", {})

    assert str(MAX_OUTPUT) in caught.value.diagnostics[0].detail


def test_variables_of_a_scalar():
    """The names that a scalar asks for are known without rendering it."""
    assert {"a", "b"} == variables_of("{{ a }}{% if b %}{{ range(3) | length }}{% endif %}")


def test_line_numbers(tmp_path):
    """An error in a template file names the file and the line, whether found in parsing or in running."""
    path = tmp_path / "x.j2"
    for text, line in (("a\nb\n{{ nope }}\n", 3), ("a\n{% if %}\n", 2), ("{# x #}\n\n\n{{ 1 // 0 }}\n", 4)):
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            render_file(str(path), {})

        assert f"{path}:{line}" == caught.value.diagnostics[0].where


def test_includes(tmp_path):
    """A template may include one that lies beside it; a missing one is named."""
    (tmp_path / "a.j2").write_text("{% include 'b.j2' %}!\n")
    with pytest.raises(InputError) as caught:
        render_file(str(tmp_path / "a.j2"), {})

    assert caught.value.diagnostics[0].summary == 'template "b.j2" was not found'
    (tmp_path / "b.j2").write_text("b")

    assert render_file(str(tmp_path / "a.j2"), {}) == "b!\n"


def test_resolv_conf():
    """resolv.conf lists servers, search domains and options."""
    found = render_builtin("resolv.conf.j2", nameservers=["8.8.8.8", "::1"], search=["a", "b"], options=["ndots:1"])

    assert found == "nameserver 8.8.8.8\nnameserver ::1\nsearch a b\noptions ndots:1\n"
    assert render_builtin("resolv.conf.j2", nameservers=[], search=[], options=[]) == ""


def test_hosts_and_hostname():
    """The hosts file has a line per entry, with one name or several; hostname has one line."""
    found = render_builtin("hosts.j2", entries=[("10.0.0.1", "b"), ("10.0.0.2", ["c", "d"])])

    assert found == "10.0.0.1\tb\n10.0.0.2\tc d\n"
    assert render_builtin("hostname.j2", hostname="a") == "a\n"


@pytest.mark.parametrize("evil", ["a\nb", "a\rb", "a\x00", "a\u2028b"])
def test_no_line_can_be_added(evil):
    """A value with a line break is refused in every system file."""
    for name, variables in (
        ("resolv.conf.j2", {"nameservers": [evil], "search": [], "options": []}),
        ("resolv.conf.j2", {"nameservers": [], "search": [evil], "options": []}),
        ("hosts.j2", {"entries": [("10.0.0.1", evil)]}),
        ("hosts.j2", {"entries": [(evil, "a")]}),
        ("hostname.j2", {"hostname": evil}),
    ):
        with pytest.raises(InputError):
            render_builtin(name, **variables)
