"""By which addresses hosts reach each other: literal ones, names of this machine, and none that others could not use."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nsprov.underlay import addresses


@dataclass(frozen=True)
class Host:
    """What is asked of a host."""

    address: str
    underlay: str | None = None
    connection: str = "ssh"
    name: str = "h1"


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (Host("192.0.2.1"), "192.0.2.1"),
        (Host("192.0.2.1", underlay="198.51.100.7"), "198.51.100.7"),
        (Host("alias-of-ssh", underlay="2001:DB8:0::1"), "2001:db8::1"),
        (Host("localhost", underlay="192.0.2.9", connection="local"), "192.0.2.9"),
    ],
)
def test_what_is_said(host, found):
    """The inventory's `nsprov_underlay` comes first, else where the host is entered; in the kernel's form."""
    assert addresses([host]) == ({"h1": found}, {})


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", '"127.0.0.1" is 127.0.0.1, by which no other host reaches it.'),
        ("localhost", '"localhost" is 127.0.0.1, by which no other host reaches it.'),
        ("::1", '"::1" is ::1, by which no other host reaches it.'),
        ("fe80::1", '"fe80::1" is fe80::1, by which no other host reaches it.'),
        ("224.0.0.1", '"224.0.0.1" is 224.0.0.1, by which no other host reaches it.'),
        ("a..b", '"a..b" is not known here: it cannot be a name.'),
    ],
)
def test_what_others_cannot_use(address, why):
    """Addresses that mean the machine itself or its neighbourhood only, and names without one, are none; it is said why."""
    assert addresses([Host(address)]) == ({}, {"h1": why})


def test_this_machine_among_machines_without_addresses():
    """Towards others it has an address, and without them none."""
    found = addresses([Host("localhost", connection="local", name="here"), Host("127.0.0.1")])

    assert found[0] == {}
    assert found[1]["here"] == "This machine has no route to any of the others."
