"""What Ansible Vault has encrypted in an inventory: read with a password, kept apart without one, and told with its place."""

from __future__ import annotations

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from nsprov.errors import InputError
from nsprov.inventory import Sealed, load_inventory
from nsprov.texts import SecretText
from nsprov.vault import Password

PASSWORDS = [Password("", b"right")]
LIBRARY = VaultLib([("default", VaultSecret(b"right"))])


def sealed(text, indent):
    """Have Ansible itself encrypt a value of a YAML file."""
    lines = LIBRARY.encrypt(text).decode().splitlines()
    return "!vault |\n" + "\n".join(" " * indent + line for line in lines) + "\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a folder with an inventory that has encrypted values, and an encrypted file beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all").write_text(LIBRARY.encrypt('port: 2200\nlogin: "{{ who }}"\nflag: true\n').decode())
    (tmp_path / "hosts.yml").write_text(
        "all:\n  hosts:\n    a:\n      who: alice\n      ansible_port: '{{ port }}'\n      ansible_user: '{{ login }}'\n"
        f"      deep: [{{x: plain}}]\n      ansible_become_password: {sealed('s3cret', 8)}"
    )
    return tmp_path


def test_with_the_password(folder):
    """Settings are what was encrypted, templates in them filled in; every text of it is secret by its type."""
    found = load_inventory(["hosts.yml"], passwords=PASSWORDS)
    host, said = found.host("a"), found.variables["a"]

    assert (host.port, host.user, host.become_password.reveal()) == (2200, "alice", "s3cret")
    assert [type(said[name]).__mro__[1] for name in ("login", "ansible_become_password")] == [SecretText, SecretText]
    assert (said["port"], said["flag"], said["deep"]) == (2200, True, [{"x": "plain"}])
    assert "s3cret" not in repr((host, dict(said)))


def test_without_one(folder):
    """A value stays encrypted, and a file says where it stands and what to do."""
    found = load_inventory(["hosts.yml"])

    assert isinstance(found.variables["a"]["ansible_become_password"], Sealed)
    with pytest.raises(InputError) as caught:
        found.host("a")

    assert {one.hint for one in caught.value.diagnostics if "encrypted" in one.summary} == {
        "give --vault-password-file FILE, or --ask-vault-pass"
    }


def test_with_another(folder):
    """That no password fits is said for the value's own place, and shows nothing of it."""
    (folder / "group_vars" / "all").unlink()
    found = load_inventory(["hosts.yml"], passwords=[Password("", b"wrong")])
    with pytest.raises(InputError) as caught:
        found.host("a")

    assert [(one.where, one.summary) for one in caught.value.diagnostics] == [
        ("hosts.yml:8:32", "no vault password fits the encrypted text")
    ]


@pytest.mark.parametrize("text", ["a: [s3cret", "- s3cret", "s3cret: 1\ns3cret: 2"])
def test_what_is_wrong_in_a_file_is_not_quoted(folder, text):
    """A file that is no mapping once it is decrypted is named, and no line of it is."""
    (folder / "group_vars" / "all").write_text(LIBRARY.encrypt(text).decode())
    with pytest.raises(InputError) as caught:
        load_inventory(["hosts.yml"], passwords=PASSWORDS).host("a")

    assert "group_vars/all" in caught.value.diagnostics[0].where
    assert "s3cret" not in repr(caught.value.diagnostics)
