"""What Ansible Vault has encrypted is read, by the password of its label first; anything else is said in words."""

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from nsprov.errors import InputError
from nsprov.vault import Password, decrypt, is_vault

LAB, OTHER = Password("lab", b"correct horse"), Password("other", b"battery staple")


def sealed(text, password=LAB, label=None):
    """Have Ansible itself encrypt a text."""
    library = VaultLib([(password.label, VaultSecret(password.text))])
    return library.encrypt(text, vault_id=label).decode()


@pytest.mark.parametrize("text", ["", "s3cret", "x" * 15, "x" * 16, "x" * 17, "Grüße\n", "a: b\n" * 999])
@pytest.mark.parametrize("label", [None, "lab"])
def test_what_ansible_encrypts_is_read(text, label):
    """Both formats, of any length: the padding is a whole block where nothing is to pad."""
    found = sealed(text, label=label)

    assert is_vault(found)
    assert is_vault(found.encode())
    assert decrypt(found, [LAB]) == text
    assert decrypt(found, [OTHER, LAB]) == text


def test_a_value_indented_in_yaml_is_read():
    found = "\n".join(f"    {line}" for line in sealed("s3cret").splitlines())

    assert decrypt(found, [LAB]) == "s3cret"


@pytest.mark.parametrize(
    ("text", "passwords", "summary"),
    [
        (sealed("x"), [], "the text is encrypted and no password is given"),
        (sealed("x"), [OTHER], "no vault password fits the encrypted text"),
        (sealed("x")[:-9], [LAB], "the encrypted text is damaged"),
        (sealed("x")[:60] + "zz" + sealed("x")[62:], [LAB], "the encrypted text is damaged"),
        ("$ANSIBLE_VAULT;1.0;AES\n00", [LAB], "vault format 1.0 with AES is not supported"),
        ("plain", [LAB], "the text is not one that Ansible Vault has encrypted"),
    ],
)
def test_what_cannot_be_read_is_said(text, passwords, summary):
    with pytest.raises(InputError) as caught:
        decrypt(text, passwords, "site.yml:3:5")

    found = caught.value.diagnostics[0]
    assert (found.summary, found.where) == (summary, "site.yml:3:5")
    assert "horse" not in f"{found} {LAB}"


def test_the_label_that_a_text_is_for_is_named():
    with pytest.raises(InputError) as caught:
        decrypt(sealed("x", label="lab"), [OTHER])

    assert caught.value.diagnostics[0].detail == 'It is for the password "lab".'


def test_another_text_under_the_same_seal_is_refused():
    """The seal is over what is encrypted: who changes a bit of it changes nothing but the answer."""
    found = sealed("s3cret")
    changed = found.rstrip()[:-1] + ("0" if found.rstrip()[-1] != "0" else "1")

    with pytest.raises(InputError):
        decrypt(changed, [LAB])
