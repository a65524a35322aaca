"""Durations, sizes, shares of a CPU and lists of CPUs: what is written comes out exactly, and nothing else comes out."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsprov.topology import units
from nsprov.topology.positions import Flaw

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("10", 10_000), ("1.5", 1500), ("-30s", -30_000), ("-2", -2000), ("500ms", 500), ("90s", 90_000),
        ("1m", 60_000), ("2h", 7_200_000), ("1d", 86_400_000), ("1w", 604_800_000), ("1h30m", 5_400_000),
        ("1m500ms", 60_500), ("0.1s", 100), ("0.5d", 43_200_000), ("4611686018s", 4_611_686_018_000),
    ],
)  # fmt: skip
def test_durations(text, expected):
    """A duration is a number of milliseconds; a bare number is seconds."""
    assert expected == units.duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "s", "10 s", "1.s", ".5s", "+1s", "--1s", "1S", "1M", "1y", "1e3", "0x10", "inf", "nan", "1s-2m", "٣s", "1s\n",
     "0.1ms", "4611686018001ms", "99999999999999999999w", "1" * 30],
)  # fmt: skip
def test_what_is_no_duration(text):
    """Anything else is refused, what is finer than a millisecond or longer than the kernel's clocks too."""
    with pytest.raises(Flaw) as caught:
        units.duration(text)

    assert caught.value.hint


@given(st.integers(0, units.MAX_SECONDS * 1000 // 604_800_000), st.sampled_from(sorted(MILLISECONDS)), st.booleans())
def test_any_whole_duration(number, unit, negative):
    """A whole number of any unit is that many of it, forwards and backwards."""
    expected = number * MILLISECONDS[unit]

    assert (-expected if negative else expected) == units.duration(f"{'-' if negative else ''}{number}{unit}")


@given(st.integers(0, 10**9), st.integers(0, 9), st.sampled_from(sorted(MILLISECONDS)))
def test_any_fraction_of_a_duration(digits, places, unit):
    """A decimal fraction is exact, or refused: nothing is rounded."""
    value = Fraction(digits, 10**places) * MILLISECONDS[unit]
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}{unit}" if places else f"{digits}{unit}"
    if value.denominator == 1 and value <= units.MAX_SECONDS * 1000:
        assert int(value) == units.duration(text)
    else:
        with pytest.raises(Flaw):
            units.duration(text)


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(sorted(MILLISECONDS))), min_size=1, max_size=5))
def test_parts_of_a_duration_add_up(parts):
    """Parts with units follow one another, and add up."""
    text = "".join(f"{number}{unit}" for number, unit in parts)

    assert sum(number * MILLISECONDS[unit] for number, unit in parts) == units.duration(text)


@given(st.text(max_size=12))
def test_no_text_breaks_the_readers(text):
    """A reader gives a number (or a list) or a flaw for any text, and never another error."""
    for read in (units.duration, units.seconds, units.size, units.cpus, units.cpu_list):
        with contextlib.suppress(Flaw):
            assert isinstance(read(text), (int, str))


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("90", 90), ("-5m", -300), ("1000ms", 1)])
def test_whole_seconds(text, expected):
    """Offsets of clocks are whole seconds."""
    assert expected == units.seconds(text)
    with pytest.raises(Flaw):
        units.seconds("1ms")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1", 1), ("256M", 256 << 20), ("256Mi", 256 << 20), ("256m", 256 << 20), ("1.5G", 3 << 29), ("4k", 4096),
     ("8Ti", 8 << 40), ("9223372036854775807", (1 << 63) - 1)],
)  # fmt: skip
def test_sizes(text, expected):
    """A size is a number of bytes, and its letters are powers of 1024."""
    assert expected == units.size(text)


@pytest.mark.parametrize(
    "text", ["", "M", "1MB", "1MiB", "1i", "-1", "1 M", "0.5", "1P", "1e6", "8388608T", "9223372036854775808"]
)
def test_what_is_no_size(text):
    """Anything else is refused; `MB` may mean two things, and half a byte nothing."""
    with pytest.raises(Flaw):
        units.size(text)


@given(st.integers(0, 1 << 20), st.sampled_from(sorted(BYTES)), st.sampled_from(["", "i"]))
def test_any_size(number, unit, suffix):
    """A whole number of any unit is that many of it."""
    assert number * BYTES[unit] == units.size(f"{number}{unit}{suffix if unit else ''}")


@pytest.mark.parametrize(
    ("text", "expected"), [("0.5", 500), ("2", 2000), ("500m", 500), ("1.25", 1250), ("0.001", 1), ("8192", 8_192_000)]
)
def test_cpus(text, expected):
    """A share of the CPUs is a number of thousandths."""
    assert expected == units.cpus(text)


@pytest.mark.parametrize("text", ["", "m", "-1", "0.0001", "0.5m", "8193", "1e3", "50%"])
def test_what_is_no_share_of_a_cpu(text):
    """Anything else is refused."""
    with pytest.raises(Flaw):
        units.cpus(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", "0"), ("0-1", "0-1"), ("3,0-1,2", "0-3"), ("5,7,5", "5,7"), ("2-2", "2"), ("00", "0")]
)
def test_lists_of_cpus(text, expected):
    """A list is given back as the kernel writes it."""
    assert expected == units.cpu_list(text)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "0,,1", "0 1", "8192", "0-99999999"])
def test_what_is_no_list_of_cpus(text):
    """Anything else is refused, and no long range is written out."""
    with pytest.raises(Flaw):
        units.cpu_list(text)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_any_set_of_cpus(cpus):
    """However a set is written, the same text comes out, and that text means the set."""
    written = units.cpu_list(",".join(map(str, cpus)))
    found = set()
    for part in written.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))

    assert cpus == found
    assert written == units.cpu_list(written)
