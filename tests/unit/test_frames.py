"""Frames: what is typed, and what is said beside it, in pieces of any size."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsprov.agent import frames
from nsprov.errors import InputError

SIDES = st.integers(min_value=0, max_value=65_535)
FRAMES = st.one_of(
    st.binary(max_size=300).map(lambda data: (frames.data(data), frames.DATA, data)),
    st.tuples(SIDES, SIDES).map(lambda size: (frames.resize(*size), frames.RESIZE, size)),
    st.sampled_from(list(signal.Signals)).map(lambda number: (frames.signal(number), frames.SIGNAL, bytes([number]))),
    st.just((frames.end(), frames.END, b"")),
)


@given(st.lists(FRAMES), st.lists(st.integers(min_value=0, max_value=900)))
def test_what_is_written_is_read(written, cuts):
    """However the bytes are cut."""
    data = b"".join(row[0] for row in written)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = frames.Reader()
    found = [frame for at, to in zip(places, places[1:], strict=False) for frame in reader.take(data[at:to])]
    meant = [(kind, frames.size(payload) if kind == frames.RESIZE else payload) for kind, payload in found]

    assert meant == [row[1:] for row in written]


def test_a_frame_that_nobody_writes():
    """Its length alone is reason to stop."""
    with pytest.raises(InputError):
        list(frames.Reader().take(b"d\xff\xff\xff\xff"))
