"""Host keys over a real key exchange: what is refused is refused before anybody authenticates."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess

import pytest

from nsprov.errors import Unreachable
from nsprov.transport import Options


@pytest.fixture
def key(machine):
    """Read the first host's public key, as known_hosts has it."""
    line = next(line for line in machine.known_hosts.read_text().splitlines() if line.startswith(machine.address + " "))
    return line.split(" ", 1)[1]


@pytest.fixture
def other_key(tmp_path):
    """Make a key that is not the host's."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    return (tmp_path / "other.pub").read_text().rsplit(maxsplit=1)[0]


@pytest.fixture
def known(machine, tmp_path):
    """Write a known_hosts file and give options that use only it."""

    def write(text, **options):
        (tmp_path / "known").write_text(text)
        path = tmp_path / "config"
        path.write_text(f"UserKnownHostsFile {tmp_path}/known\n" + machine.ssh_config.read_text())
        return Options(ssh_config=str(path), **options)

    return write


def refusal(reach, machine, options):
    """Connect in vain, and make sure that nobody has authenticated."""
    before = machine.logins()
    with pytest.raises(Unreachable) as caught:
        reach(options)
    assert machine.logins() == before
    assert "authenticating user" not in machine.log_path.read_text().rsplit("Connection from", 1)[1]
    return caught.value.diagnostics[0]


def hashed(name):
    salt = b"01234567890123456789"
    digest = hmac.digest(salt, name.encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    "patterns",
    ["10.87.0.1", "10.87.0.?", "10.87.*", "web,10.87.0.1,!10.87.0.2", hashed("10.87.0.1")],
    ids=["plain", "question mark", "star", "list", "hashed"],
)
def test_known(reach, known, key, patterns):
    """Every way to write a host is understood."""
    assert reach(known(f"# comment\nbad line\n{patterns} {key}\n")).facts["warnings"] == ()


def test_changed(reach, machine, known, other_key):
    """Another key than the known one is refused, with the line that knows it."""
    diagnostic = refusal(reach, machine, known(f"\n10.87.0.1 {other_key}\n"))

    assert diagnostic.summary == "the host key has changed"
    assert "/known:2 has another ssh-ed25519 key" in diagnostic.detail


@pytest.mark.parametrize("checking", ["no", "accept-new"])
def test_changed_is_refused_always(reach, machine, known, other_key, checking):
    """No option makes a changed key acceptable."""
    options = known(f"10.87.0.1 {other_key}\n", host_key_checking=checking)

    assert refusal(reach, machine, options).summary == "the host key has changed"


@pytest.mark.parametrize("text", ["", "other {key}\n", "10.87.*,!10.87.0.1 {key}\n"], ids=["empty", "other host", "negated"])
def test_unknown(reach, machine, known, key, text):
    """An unknown key is refused, with its fingerprint and a way on."""
    diagnostic = refusal(reach, machine, known(text.format(key=key)))
    path = machine.root / "etc/ssh/ssh_host_ed25519_key.pub"
    fingerprint = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout.split()[1]

    assert diagnostic.summary == "the host key is not known"
    assert fingerprint in diagnostic.detail
    assert "accept-new" in diagnostic.hint


def test_revoked(reach, machine, known, key):
    """A revoked key is refused, whatever other lines say."""
    options = known(f"10.87.0.1 {key}\n@revoked * {key}\n", host_key_checking="no")

    assert refusal(reach, machine, options).summary == "the host key is revoked"


def test_certificate_authority(reach, machine, known, other_key):
    """Trust in an authority is not taken for trust in a key, and the text says so."""
    diagnostic = refusal(reach, machine, known(f"@cert-authority 10.87.* {other_key}\n", host_key_checking="accept-new"))

    assert "the host has shown no certificate" in diagnostic.detail


def test_accept_new(reach, known, key, tmp_path):
    """A new key is written down once, and a later run needs no exception."""
    first = reach(known("other ssh-ed25519 AAAA", host_key_checking="accept-new"))
    written = (tmp_path / "known").read_text()
    second = reach(Options(ssh_config=str(tmp_path / "config"), host_key_checking="yes"))

    assert written == f"other ssh-ed25519 AAAA\n10.87.0.1 {key}\n"
    assert "was added to" in first.facts["warnings"][0]
    assert second.facts["warnings"] == ()


def test_accept_new_when_the_type_is_new(reach, machine, known, tmp_path):
    """A host known by an RSA key that shows another type is not a new host."""
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", tmp_path / "rsa"], check=True)
    line = (tmp_path / "rsa.pub").read_text().rsplit(maxsplit=1)[0]

    assert "10.87.0.1" in refusal(reach, machine, known(f"10.87.0.1 {line}\n", host_key_checking="accept-new")).detail


def test_no_checking(reach, known, tmp_path):
    """Without checking, a new key is accepted with a warning and not written down."""
    session = reach(known("", host_key_checking="no"))

    assert "was not checked" in session.facts["warnings"][0]
    assert (tmp_path / "known").read_text() == ""


def test_alias(reach, known, key, tmp_path):
    """HostKeyAlias is the name under which the key is known."""
    known(f"web {key}\n")
    config = tmp_path / "config"
    config.write_text("HostKeyAlias web\n" + config.read_text())

    assert reach(Options(ssh_config=str(config))).facts["warnings"] == ()


def test_known_type_is_asked_for_first(reach, machine, known):
    """A host that has several keys shows the one that is known."""
    machine.run("[ -e /etc/ssh/rsa ] || ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/rsa")
    machine.run(
        "grep -q ssh/rsa /etc/ssh/sshd_config || echo 'HostKey /etc/ssh/rsa' >>/etc/ssh/sshd_config; kill -HUP 1; sleep 0.3"
    )
    line = (machine.root / "etc/ssh/rsa.pub").read_text().rsplit(maxsplit=1)[0]

    assert reach(known(f"10.87.0.1 {line}\n")).facts["warnings"] == ()
