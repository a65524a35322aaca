"""The base of all resources, and what every kind promises by its values alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsprov.kinds import BY_NAME, KINDS, ORDER, SCHEMAS
from nsprov.plan.resource import Ref, comparable, decode, encode, place, schema

refs = st.builds(Ref, st.text("abc", min_size=1), st.text())


@given(refs)
def test_refs_read_back(ref):
    """A ref is read back from its text, whatever is in its name."""
    assert ref == Ref.parse(str(ref))


def test_the_host_has_a_name():
    """The host's own place is written as a word, which no node may be called by."""
    assert place("") == "host"
    assert place("r1") == "r1"


def test_kinds_are_registered_once():
    """Names, schemas and the order are the same kinds."""
    assert list(BY_NAME) == list(SCHEMAS) == list(ORDER) == [kind.NAME for kind in KINDS]
    assert all(SCHEMAS[name].kind == name for name in ORDER)


@pytest.mark.parametrize("kind", KINDS, ids=ORDER)
def test_a_kind_has_all_its_functions(kind):
    """What the engine asks of a kind is there, and documented."""
    for name in ("observe", "obstacles", "create", "update", "delete"):
        assert callable(getattr(kind, name))
        assert getattr(kind, name).__doc__


@pytest.mark.parametrize("kind", KINDS, ids=ORDER)
def test_fields_have_a_role(kind):
    """Every kind has a name, and a field that is no part of it is either changed in place or replaced."""
    roles = {name: field.metadata.get("role") for name, field in schema(kind.SCHEMA).items()}

    assert "identity" in roles.values()
    assert set(roles.values()) <= {"identity", "replace", "secret", None}
    assert {name for name, role in roles.items() if role != "identity"} == {name for name, _ in comparable(kind.SCHEMA)}


@st.composite
def resources(draw):
    """Draw a resource of any kind with any values of the right types."""
    cls = draw(st.sampled_from([kind.SCHEMA for kind in KINDS]))
    return decode(cls, {name: draw(values(str(field.type))) for name, field in schema(cls).items()})


def values(annotation):
    """Give values of a field's type."""
    options = {"str": st.text("ab/:.1", max_size=6), "int": st.integers(0, 2**32), "bool": st.booleans()}
    plain = annotation.removesuffix(" | None")
    if plain in options:
        return options[plain] if plain == annotation else st.none() | options[plain]
    if plain.endswith(", ...]") and not plain.startswith("tuple[tuple["):
        return st.lists(options[plain.removeprefix("tuple[").removesuffix(", ...]")], max_size=2).map(tuple)
    inner = plain.removeprefix("tuple[tuple[").partition("]")[0].split(", ")
    return st.lists(st.tuples(*(options[name] for name in inner)), max_size=2).map(tuple)


@given(resources())
def test_what_is_encoded_decodes(resource):
    """Encoding and decoding are each other's inverse for every kind."""
    assert resource == decode(type(resource), encode(resource))


@given(resources())
def test_tokens_are_texts(resource):
    """Tokens are plain strings that name what they are of, and no resource needs itself."""
    tokens = (*resource.provides(), *resource.needs(), *resource.stands_on(), *resource.dies_with())

    assert all(isinstance(token, str) and token for token in tokens)
    assert resource.ref().kind == resource.kind


@given(resources())
def test_what_dies_with_a_thing_stands_on_it(resource):
    """Only what stands on a thing, or is in the lab's own file system, can go with it."""
    assert set(resource.dies_with()) <= {*resource.stands_on(), "lab"}
