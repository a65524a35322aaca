"""known_hosts as OpenSSH understands it: pure functions over text, and one that appends."""

from __future__ import annotations

import base64
import multiprocessing
import struct

import pytest

from nsprov.errors import Unreachable
from nsprov.transport import hostkeys
from nsprov.transport.hostkeys import Offer, Verifier


def blob(name, kind="ssh-ed25519"):
    return struct.pack(">I", len(kind)) + kind.encode() + name.encode()


def line(hosts, name, kind="ssh-ed25519", marker=""):
    return f"{marker + ' ' if marker else ''}{hosts} {kind} {base64.b64encode(blob(name, kind)).decode()} comment\n"


def offer(name="key", host="web", port=22, kind="ssh-ed25519"):
    return Offer(host, port, kind, blob(name, kind))


def verdict(text, offered=None):
    return hostkeys.judge(hostkeys.parse(text), offered or offer()).kind


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ("web", "web", True),
        ("Web", "wEB", True),
        ("web", "web2", False),
        ("w?b", "web", True),
        ("*.lab", "a.lab", True),
        ("*.lab", "lab", False),
        ("a.b", "axb", False),
        ("*,!web", "web", False),
        ("!web,*", "web", False),
        ("*,!web", "db", True),
        ("!db", "web", False),
        ("[web]:2222", "[web]:2222", True),
        ("[web]:*", "[web]:2222", True),
        ("[w]:2222", "w", False),
        ("|1|bad", "web", False),
        ("|1|????|????", "web", False),
        ("|1|AAAA|AAAA", "web", False),
    ],
)
def test_patterns(patterns, name, expected):
    """Wildcards, negations, ports and damaged hashes."""
    assert hostkeys.matches(patterns, name) is expected


def test_what_ssh_keygen_hashed():
    """A line that `ssh-keygen -H` wrote for 10.87.0.1."""
    field = "|1|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=|"
    made = hostkeys._field("10.87.0.1", hashed=True)  # noqa: SLF001 - the writer, to meet the reader

    assert made.startswith("|1|")
    assert len(made) == len(field) + 28
    assert hostkeys.matches(made, "10.87.0.1")
    assert not hostkeys.matches(made, "10.87.0.2")


def test_lines_that_are_no_entries():
    """Comments, blank lines, other markers, damaged keys and lines of an unknown form are passed over."""
    text = (
        "# comment\n\n@what web ssh-ed25519 AAAA\nweb\nweb ssh-ed25519\nweb ssh-ed25519 ?\nweb ssh-rsa "
        + line("x", "key").split()[2]
    )

    assert hostkeys.parse(text) == []


def test_an_entry_knows_its_line():
    """File and line are for the message about a changed key."""
    entry = hostkeys.parse("#\n" + line("web", "key"), "/k")[0]

    assert (entry.file, entry.line) == ("/k", 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "new"),
        (line("web", "key"), "known"),
        (line("web", "old") + line("web", "key"), "known"),
        (line("web", "old"), "changed"),
        (line("db", "old"), "new"),
        (line("web", "key") + line("*", "key", marker="@revoked"), "revoked"),
        (line("*", "old", marker="@revoked"), "new"),
        (line("*", "key", marker="@revoked"), "revoked"),
        (line("web", "ca", marker="@cert-authority"), "authority"),
        (line("web", "key", marker="@cert-authority"), "authority"),
        (line("web", "old", "ssh-rsa"), "changed"),
    ],
)
def test_judgement(text, expected):
    """What the entries say of an offered key."""
    assert verdict(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line("[web]:2222", "key"), "known"),
        (line("web", "key"), "known"),
        (line("web", "old"), "new"),
        (line("[web]:2222", "old") + line("web", "key"), "known"),
        (line("[web]:2223", "key"), "new"),
        (line("web", "key", marker="@revoked"), "revoked"),
    ],
)
def test_judgement_on_another_port(text, expected):
    """A line without the port says yes and revoked, but not changed."""
    assert verdict(text, offer(port=2222)) == expected


def test_types_to_ask_for():
    """RSA has two names in the key exchange, none of them that of the key."""
    text = (
        line("web", "a", "ssh-rsa")
        + line("web", "b")
        + line("db", "c", "ecdsa-sha2-nistp256")
        + line("web", "d", marker="@revoked")
    )

    assert hostkeys.known_types(hostkeys.parse(text), "web", 22) == ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]


def test_fingerprint():
    """As ssh-keygen prints it: base64 without padding."""
    assert offer().fingerprint.startswith("SHA256:")
    assert "=" not in offer().fingerprint


@pytest.mark.parametrize("text", ["", line("db", "x"), line("db", "x").rstrip("\n")], ids=["none", "lines", "unfinished"])
def test_remember(tmp_path, text):
    """A key is appended on a line of its own, and only once."""
    path = tmp_path / "deep" / "known_hosts"
    path.parent.mkdir()
    path.write_text(text)
    verifier = Verifier([str(path)], "accept-new", writable=str(path))

    assert "was added" in verifier.verify("h", offer())
    assert verifier.verify("h", offer()) == ""
    assert path.read_text().splitlines()[-1] == line("web", "key").removesuffix(" comment\n")
    assert len(path.read_text().splitlines()) == len(text.splitlines()) + 1


def test_remember_makes_the_file(tmp_path):
    """A user without ~/.ssh gets one, private."""
    path = tmp_path / "home" / ".ssh" / "known_hosts"
    hostkeys.remember(str(path), offer(), hashed=True)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.read_text().startswith("|1|")
    assert hostkeys.judge(hostkeys.load(str(path)), offer()).kind == "known"


def _remember(path, name):
    hostkeys.remember(path, offer(name="key" * 1000, host=name))


def test_remember_from_many_processes(tmp_path):
    """Forty writers lose nothing and write nothing twice."""
    path = str(tmp_path / "known_hosts")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pool.starmap(_remember, [(path, f"h{number % 20}") for number in range(40)])

    assert sorted(entry.patterns for entry in hostkeys.load(path)) == sorted(f"h{number}" for number in range(20))


def test_a_change_between_look_and_lock(tmp_path):
    """What somebody else wrote meanwhile counts."""
    path = tmp_path / "known_hosts"
    path.write_text(line("web", "old"))

    with pytest.raises(Unreachable, match="has changed"):
        Verifier([], "accept-new", writable=str(path)).verify("h", offer())


@pytest.mark.parametrize(
    ("checking", "text", "summary"),
    [
        ("yes", "", "the host key is not known"),
        ("yes", line("web", "old"), "the host key has changed"),
        ("no", line("web", "old"), "the host key has changed"),
        ("no", line("web", "key", marker="@revoked"), "the host key is revoked"),
        ("no", line("web", "ca", marker="@cert-authority"), "the host key is not known"),
    ],
)
def test_refusals_say_where_and_what_to_do(tmp_path, checking, text, summary):
    """Every refusal names the host, the fingerprint and a way on."""
    path = tmp_path / "known"
    path.write_text(text)
    with pytest.raises(Unreachable) as caught:
        Verifier([str(path)], checking, writable=str(path)).verify("h", offer())
    diagnostic = caught.value.diagnostics[0]

    assert (diagnostic.summary, diagnostic.where) == (summary, "h")
    assert "SHA256:" in diagnostic.detail
    assert diagnostic.hint
    assert path.read_text() == text


def test_no_checking_accepts_what_is_new(tmp_path):
    """A warning is given and nothing is written."""
    assert "was not checked" in Verifier([], "no", writable=str(tmp_path / "k")).verify("h", offer())
    assert not (tmp_path / "k").exists()


def test_a_file_that_is_not_there():
    """No file, no entries."""
    assert hostkeys.load("/nonexistent") == []
