"""Fork the inits of nodes, each into what the agent hands over; runs in an interpreter of its own.

See `nsprov.init.spawn` for who starts it. Nothing here may be imported by the agent.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, NoReturn

from nsprov.init.logs import WORDS
from nsprov.init.main import Init, prepare
from nsprov.kernel import children, libc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_REQUEST, _DESCRIPTORS = 4096, 32


def main(channel: int) -> None:
    """Fork an init for each request until the agent closes the channel."""
    os.closerange(channel + 1, os.sysconf("SC_OPEN_MAX"))  # what the agent's caller had open is no business of a node
    agent = socket.socket(fileno=channel)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps those that only lead to an init
    init = Init()
    prepare()
    while True:
        data, fds, _, _ = socket.recv_fds(agent, _REQUEST, _DESCRIPTORS)
        if not data:
            return
        if os.fork() == 0:
            _be_born(init, agent, json.loads(data), fds)
        for fd in fds:
            os.close(fd)


def _be_born(init: Init, agent: socket.socket, request: Mapping[str, Any], fds: Sequence[int]) -> NoReturn:
    """Enter the node, tell the agent, and serve; a forked child must not return into its parent's code."""
    try:
        listener, logs, *rest = fds
        groups, spaces = rest[: request["groups"]], zip(request["spaces"], rest[request["groups"] :])
        try:
            _enter(groups, spaces)
            _speak(logs)
            if request["pid"]:
                _become_first(agent, request["node"])
            else:
                agent.send(json.dumps({"node": request["node"], "pid": os.getpid()}).encode())
        except OSError as problem:
            agent.send(json.dumps({"node": request["node"], "error": [problem.errno, str(problem)]}).encode())
            os._exit(1)
        agent.close()
        for fd in rest:
            os.close(fd)
        init.serve(socket.socket(fileno=listener), logs, pid1=bool(request["pid"]))
    finally:
        os._exit(1)


def _enter(groups: Sequence[int], spaces: Iterable[tuple[int, int]]) -> None:
    """Join the control groups, then the namespaces: of the user's, nobody comes back to join another."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in groups:
        os.write(fd, b"0")
    for flag, fd in spaces:
        if flag == libc.CLONE_NEWUSER:
            children.enter_user(fd)
        else:
            libc.setns(fd, flag)
    os.chdir("/")


def _speak(logs: int) -> None:
    """Say what goes wrong beyond all that is foreseen where it can be read; it belongs to the node's root, as we do now."""
    words = os.open(WORDS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640, dir_fd=logs)
    os.dup2(words, 2)
    os.close(words)


def _become_first(agent: socket.socket, node: str) -> None:
    """Make a pid namespace and become its first process: the first child after unshare(2) is (pid_namespaces(7))."""
    libc.unshare(libc.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        space = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(agent, [json.dumps({"node": node, "pid": pid}).encode()], [space])
        os._exit(0)
