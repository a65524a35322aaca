"""Our own terminal, when it is to be another one's."""

from __future__ import annotations

import contextlib
import sys
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def raw(wanted: bool) -> Iterator[None]:  # noqa: FBT001 - there is nothing else to say
    """Pass every key on as it is, until the block ends; nothing changes if that is not wanted."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
