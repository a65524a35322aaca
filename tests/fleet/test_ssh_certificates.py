"""Certificates of hosts and of users, made by ssh-keygen and shown to and by a real sshd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from labhosts import another_sshd

from nsprov.errors import Unreachable
from nsprov.transport import Options

PORT = 2210


def keygen(*arguments):
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


def public(path):
    return path.with_name(f"{path.name}.pub").read_text().rsplit(maxsplit=1)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make three authorities, of which one is of another type, and a key that no host knows."""
    found = tmp_path_factory.mktemp("authorities")
    for name, kind in (("ca", "ed25519"), ("other", "ed25519"), ("rsa", "rsa"), ("user", "ed25519")):
        keygen("-t", kind, "-N", "", "-C", name, "-f", found / name)
    return found


@pytest.fixture
def serve(machine, folder):
    """Run a sshd that shows the host's key with a certificate made by `ssh-keygen -s` with the given arguments."""
    running = []

    def start(*arguments, ca="ca"):
        certificate = folder / "host-cert.pub"
        shutil.copy(machine.root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host.pub")
        keygen("-s", folder / ca, "-I", "host", *arguments, folder / "host.pub")
        shutil.copy(certificate, machine.root / "run/host-cert.pub")
        shutil.copy(folder / "ca.pub", machine.root / "run/users.pub")
        text = f"Port {PORT}\nHostCertificate /run/host-cert.pub\nTrustedUserCAKeys /run/users.pub\nPermitRootLogin yes"
        sshd = another_sshd(machine, text)
        running.append(sshd)
        return sshd.__enter__()

    yield start
    for sshd in running:
        sshd.__exit__(None, None, None)


@pytest.fixture
def known(machine, tmp_path):
    """Write a known_hosts file and give options that use only it."""

    def write(text, more=""):
        (tmp_path / "known").write_text(text)
        path = tmp_path / "config"
        path.write_text(f"UserKnownHostsFile {tmp_path}/known\n{more}\n" + machine.ssh_config.read_text())
        return Options(ssh_config=str(path))

    return write


def refusal(reach, log, options):
    """Connect in vain, and make sure that nobody has authenticated."""
    with pytest.raises(Unreachable) as caught:
        reach(options, port=PORT)
    assert "Accepted" not in log.read_text()
    return caught.value.diagnostics[0]


@pytest.mark.parametrize("ca", ["ca", "rsa"])
@pytest.mark.parametrize("patterns", ["10.87.*", f"[10.87.0.1]:{PORT}", "*,!10.87.0.2"])
def test_a_host_with_a_certificate(reach, serve, known, folder, ca, patterns):
    """An authority that is trusted for the host vouches for its key."""
    serve("-h", "-n", "web,10.87.0.1", ca=ca)

    assert reach(known(f"@cert-authority {patterns} {public(folder / ca)}\n"), port=PORT).facts["warnings"] == ()


def test_its_alias(reach, serve, known, folder):
    """A certificate is for the name under which the key would be known; it may be a pattern."""
    serve("-h", "-n", "*.example.com")
    options = known(f"@cert-authority *.example.com {public(folder / 'ca')}\n", "HostKeyAlias web.example.com")

    assert reach(options, port=PORT).facts["warnings"] == ()


FLAWS = {
    "expired": (("-h", "-n", "10.87.0.1", "-V", "20200101:20200102"), "has expired on 2020-01-02"),
    "too early": (("-h", "-n", "10.87.0.1", "-V", "20400101:20400102"), "is not valid before 2040-01-01"),
    "another host's": (("-h", "-n", "10.87.0.2"), "is for 10.87.0.2"),
    "nobody's": (("-h",), "names no host"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_certificate_that_is_not_good(reach, serve, known, folder, flaw):
    """The text says what is wrong with it."""
    arguments, words = FLAWS[flaw]
    log = serve(*arguments)
    diagnostic = refusal(reach, log, known(f"@cert-authority * {public(folder / 'ca')}\n"))

    assert diagnostic.summary == "the host's certificate is not good"
    assert words in diagnostic.detail


def test_another_authority(reach, serve, known, folder):
    """What somebody else has signed means nothing."""
    log = serve("-h", "-n", "10.87.0.1", ca="other")
    diagnostic = refusal(reach, log, known(f"@cert-authority * {public(folder / 'ca')}\n"))

    assert "which nothing trusts for it" in diagnostic.detail


def test_an_authority_for_other_hosts(reach, serve, known, folder):
    """An authority is asked for only where it is trusted; elsewhere the key is just not known."""
    log = serve("-h", "-n", "10.87.0.1")
    diagnostic = refusal(reach, log, known(f"@cert-authority 10.88.* {public(folder / 'ca')}\n"))

    assert diagnostic.summary == "the host key is not known"


@pytest.mark.parametrize("what", ["authority", "key"])
def test_what_is_revoked(reach, machine, serve, known, folder, what):
    """A good certificate does not save a revoked key, nor one of a revoked authority; RevokedHostKeys says it as well."""
    log = serve("-h", "-n", "10.87.0.1")
    line = public(folder / "ca") if what == "authority" else (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    trust = f"@cert-authority * {public(folder / 'ca')}\n"
    (folder / "revoked").write_text(f"# lost\n{line}\n")

    assert refusal(reach, log, known(f"{trust}@revoked * {line}\n")).summary == "the host key is revoked"
    found = refusal(reach, log, known(trust, f"RevokedHostKeys {folder}/revoked"))
    assert found.summary == "the host key is revoked"
    assert f"{folder}/revoked:2" in found.detail


def test_a_list_of_revoked_keys_that_cannot_be_read(reach, serve, known, folder):
    """Then nobody is trusted: a KRL is binary, and what is not there may have said anything."""
    log = serve("-h", "-n", "10.87.0.1")
    trust = f"@cert-authority * {public(folder / 'ca')}\n"
    keygen("-k", "-f", folder / "krl", folder / "other.pub")

    for name in ("krl", "missing"):
        diagnostic = refusal(reach, log, known(trust, f"RevokedHostKeys {folder}/{name}"))
        assert "revoked host keys cannot be read" in diagnostic.summary


def test_a_known_key_with_an_old_certificate(reach, machine, serve, known, folder):
    """As with OpenSSH, the key is good by itself then; a remark says why the certificate is not."""
    serve("-h", "-n", "10.87.0.1", "-V", "20200101:20200102")
    key = (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    options = known(f"@cert-authority * {public(folder / 'ca')}\n[10.87.0.1]:{PORT} {key}")

    assert "has expired" in reach(options, port=PORT).facts["warnings"][0]


def test_the_algorithms_of_the_configuration(reach, serve, known, folder):
    """HostKeyAlgorithms without certificates is obeyed; a list of what we do not know is refused in words."""
    log = serve("-h", "-n", "10.87.0.1")
    trust = f"@cert-authority * {public(folder / 'ca')}\n"

    assert "has shown no certificate" in refusal(reach, log, known(trust, "HostKeyAlgorithms ssh-ed25519")).detail
    assert "hostkeyalgorithms" in refusal(reach, log, known("", "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com")).summary
    assert "ciphers" in refusal(reach, log, known(trust, "Ciphers chacha20-poly1305@openssh.com")).summary


@pytest.fixture
def user(serve, known, machine, folder):
    """Run a sshd that trusts our authority for users, and give options for a key that it does not know."""
    serve("-h", "-n", "10.87.0.1")
    key = (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (folder / "user-cert.pub").unlink(missing_ok=True)

    def options(more=""):
        path = Path(known(f"[10.87.0.1]:{PORT} {key}", more).ssh_config)
        path.write_text(path.read_text().replace(f"IdentityFile {machine.key}\n", f"IdentityFile {folder}/user\n"))
        return Options(ssh_config=str(path))

    return options


def test_a_user_with_a_certificate(reach, user, folder):
    """It lies beside the key, or CertificateFile names it."""
    keygen("-s", folder / "ca", "-I", "me", "-n", "root", folder / "user.pub")
    beside = reach(user(), port=PORT)
    (folder / "user-cert.pub").rename(folder / "elsewhere")
    named = reach(user(f"CertificateFile {folder}/elsewhere"), port=PORT)

    assert (beside.facts["uid"], named.facts["uid"]) == (0, 0)


def test_a_users_certificate_that_has_expired(reach, user, folder):
    """It is not offered, and the error says so; the bare key is still tried."""
    keygen("-s", folder / "ca", "-I", "me", "-n", "root", "-V", "20200101:20200102", folder / "user.pub")
    with pytest.raises(Unreachable) as caught:
        reach(user(), port=PORT)

    detail = caught.value.diagnostics[0].detail
    assert f"offered {folder}/user;" in detail
    assert f'the certificate "{folder}/user-cert.pub" has expired on 2020-01-02' in detail


@pytest.mark.parametrize("held", ["both", "key"])
def test_a_certificate_and_an_agent(reach, user, folder, held):
    """The agent has the key; the certificate is the agent's, too, or a file."""
    keygen("-s", folder / "ca", "-I", "me", "-n", "root", folder / "user.pub")
    if held == "key":
        (folder / "user-cert.pub").rename(folder / "elsewhere")
    with subprocess.Popen(["ssh-agent", "-D", "-a", folder / "agent"], stdout=subprocess.PIPE) as agent:
        agent.stdout.readline()  # it listens
        environment = {"SSH_AUTH_SOCK": str(folder / "agent"), "PATH": "/usr/bin"}
        subprocess.run(["ssh-add", "-q", folder / "user"], check=True, env=environment)
        (folder / "user").rename(folder / "away")
        (folder / "user-cert.pub").unlink(missing_ok=True)
        more = f"IdentityAgent {folder}/agent\nIdentitiesOnly no\n"
        try:
            found = reach(user(more + (f"CertificateFile {folder}/elsewhere" if held == "key" else "")), port=PORT)
            assert found.facts["uid"] == 0
        finally:
            agent.terminate()
            (folder / "away").rename(folder / "user")
