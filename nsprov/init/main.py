"""The init itself: what it is to the kernel, and its loop."""

from __future__ import annotations

import gc
import os
import resource
import signal
import struct
import sys
from typing import TYPE_CHECKING, NoReturn

from nsprov.init.control import Control
from nsprov.init.loop import Loop
from nsprov.init.run import Site
from nsprov.init.server import Server
from nsprov.init.supervisor import Supervisor
from nsprov.kernel import libc

if TYPE_CHECKING:
    import socket

_HEARD = (signal.SIGCHLD, signal.SIGTERM)
_DEADLY = {
    *(signal.SIGKILL, signal.SIGSTOP),  # nobody can ignore them
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
}
"""What is left as it is: it kills, or is our own fault."""

_SIGNAL_RECORD = struct.Struct("=IiiI112x")  # signo, errno, code and pid of struct signalfd_siginfo
_NAME = b"nsprov-init"
_MOST_DESCRIPTORS = 1 << 20


class Init:
    """All of an init but its node.

    It is made once, before the inits are forked: what a process does not write after fork(2), it shares.
    """

    def __init__(self) -> None:
        """Make what every init is made of; this process needs `prepare` too."""
        self._loop = Loop()
        self._server = Server(self._loop, lambda request: self._control.serve(request))  # noqa: PLW0108 - it is made below
        self._site = Site(self._loop, self._server.broadcast, lambda: self._control.paused)
        self._supervisor = Supervisor(self._site)
        self._control = Control(self._loop, self._supervisor, lambda: os._exit(0))
        # Who reads it reads their own signals, a forked child too (signalfd(2)).
        self._signals = libc.signalfd(_HEARD)

    def serve(self, listener: socket.socket, logs: int, *, pid1: bool) -> NoReturn:
        """Be the init of the node that this process is in, until told to leave: supervise, reap, and answer agents.

        Descriptors 0 and 1 are /dev/null; what goes wrong is said on 2. All others but those given are closed.
        """
        _close_all_but({0, 1, 2, self._signals, listener.fileno(), logs})
        os.umask(0o027)
        for number in _HEARD:
            signal.signal(number, signal.SIG_DFL)
        if not pid1:
            libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        # A workload with CAP_SYS_PTRACE in the node's user namespace can look into nobody who is not dumpable, nor at the
        # descriptors of one. We ourselves still read our /proc: a process may always look into itself (ptrace(2)).
        libc.set_dumpable(dumpable=False)
        gc.enable()  # what was there before is frozen: no collection looks at it
        self._site.logs = logs
        self._server.listen(listener)
        self._loop.watch(self._signals, lambda _: self._heed(pid1=pid1))
        while True:
            self._loop.guarded(self._loop.turn)

    def _heed(self, *, pid1: bool) -> None:
        """Reap, and leave on SIGTERM; PID 1 does not on one from inside, as it would not without having asked for it."""
        while True:
            try:
                data = os.read(self._signals, _SIGNAL_RECORD.size)
            except BlockingIOError:
                return
            number, _, _, sender = _SIGNAL_RECORD.unpack(data)
            if number == signal.SIGCHLD:
                self._loop.reap()
            elif not (pid1 and sender):
                self._supervisor.shut_down(lambda: os._exit(0))


def prepare() -> None:
    """Make of this process one that inits are forked from: it hears and imports what they may, and its memory is theirs."""
    for number in map(int, signal.valid_signals() - _DEADLY - set(_HEARD)):
        signal.signal(number, signal.SIG_IGN)
    # Blocked and not handled: the descriptor says who sent a signal, and PID 1 gets blocked ones from inside too.
    signal.pthread_sigmask(signal.SIG_SETMASK, _HEARD)
    libc.prctl(libc.PR_SET_NAME, _NAME)
    # The node's files will be an init's: nothing may be imported from them.
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    gc.collect()
    gc.disable()
    gc.freeze()


def _close_all_but(kept: set[int]) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    end = limit if 0 < limit < _MOST_DESCRIPTORS else _MOST_DESCRIPTORS
    for lower, upper in zip(sorted(kept), [*sorted(kept)[1:], end]):
        os.closerange(lower + 1, upper)
