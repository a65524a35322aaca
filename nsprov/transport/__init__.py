"""How the controller reaches an agent: one session per host and run, local or over SSH.

A session carries the messages of `nsprov.agent.protocol` and nothing else.
What goes wrong before the first message is an `Unreachable` that says what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.transport.session import Host, HostKeyChecking, Options, Password, Session

if TYPE_CHECKING:
    from nsprov.transport.routes import Routes

__all__ = ["Host", "HostKeyChecking", "Options", "Password", "Session", "connect", "local_agent", "share"]


def share(options: Options) -> Routes:
    """Give what the connections of one run share: `prepare` it from the main thread, and `close` it at the end."""
    from nsprov.transport.routes import Routes  # noqa: PLC0415 - for start-up time

    return Routes(options)


def connect(host: Host, options: Options, routes: Routes | None = None) -> Session:
    """Reach the host and start its agent.

    Raises:
        Unreachable: with one diagnostic that says why and what to do.

    """
    if host.connection == "local":
        from nsprov.transport import local  # noqa: PLC0415 - for start-up time

        return local.connect(host)
    from nsprov.transport import ssh  # noqa: PLC0415 - for start-up time: paramiko takes 130 ms

    return ssh.connect(host, options, routes=routes)


def local_agent() -> Session:
    """Start an agent on this host as root."""
    from nsprov.transport import local  # noqa: PLC0415 - for start-up time

    return local.ForkSession("localhost")
