"""What the command line adds to an inventory, typed on a terminal or read from a file, over a real sshd."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pexpect
import pytest
from controlled import PATIENCE, PROGRAM
from labhosts import PASSWORD, another_sshd

PORT = 2241


@pytest.fixture(scope="module")
def doors(lab):
    """Let two hosts take passwords, on another port."""
    text = f"Port {PORT}\nAuthenticationMethods password"
    with another_sshd(lab[0], text), another_sshd(lab[1], text):
        yield lab


@pytest.fixture
def run(doors, tmp_path):
    """Give the arguments of `nsprov ls` on both hosts, and what to run them with."""
    (tmp_path / "inventory.yml").write_text(
        "all:\n  hosts:\n    lab1: {ansible_host: 10.87.0.1}\n    lab2: {ansible_host: 10.87.0.2, ansible_become: true}\n"
        f"  vars: {{ansible_port: {PORT}}}\n"
    )
    (tmp_path / "config").write_text(doors[0].ssh_config.read_text().replace("User root\n", ""))
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return [*PROGRAM, "ls", "-i", "inventory.yml", "-F", "config", "-b", "--user", "labpw"]


def start(arguments, folder):
    return pexpect.spawn(arguments[0], arguments[1:], cwd=folder, encoding="utf-8", timeout=PATIENCE)


def test_each_secret_is_asked_for_once(run, tmp_path):
    """Two hosts, one question for both; Enter for the second secret means the same again; nobody sees them."""
    child = start([*run, "-k", "-K"], tmp_path)
    child.expect_exact("SSH password: ")
    child.sendline(PASSWORD)
    child.expect_exact("become password: ")
    child.sendline("")
    seen = ""
    while child.isalive():
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError), open(f"/proc/{child.pid}/{name}", encoding="utf-8", errors="replace") as file:
                seen += file.read()  # until it has gone
        time.sleep(0.05)
    output = child.read()
    child.close()

    assert child.exitstatus == 0, output
    assert PASSWORD not in seen + output
    assert "password: " not in output


def test_from_files(run, tmp_path):
    """A file for each, which may be a program; nobody is asked."""
    program = tmp_path / "secret"
    program.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    program.chmod(0o700)
    child = start([*run, "--connection-password-file", "password", "--become-password-file", "./secret"], tmp_path)
    output = child.read()
    child.close()

    assert child.exitstatus == 0, output
    assert "assword" not in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-k"], "there is no terminal to ask for a password"),
        (["--connection-password-file", "missing"], "the password file cannot be read"),
        (["--connection-password-file", "/dev/null"], "the password file is empty"),
        (["--connection-password-file", "/bin/false"], "the password program failed"),
    ],
)
def test_what_cannot_be_had(run, tmp_path, arguments, words):
    """Without a terminal or a file the run ends before anything is touched, with exit 3."""
    done = subprocess.run([*run, *arguments], cwd=tmp_path, capture_output=True, text=True, start_new_session=True, check=False)

    assert (done.returncode, words in done.stderr) == (3, True), done.stderr


def test_su_with_the_timeout(run, doors, tmp_path):
    """The method and the time to wait come from the command line, too."""
    child = start([*run, "--connection-password-file", "password", "--become-method", "su", "-T", "7"], tmp_path)
    output = child.read()
    child.close()

    assert child.exitstatus == 4
    assert "su asks for a password" in output
