#!/usr/bin/env python3
"""Put TCP servers at a distance: every byte arrives half a round trip later, in order; bandwidth is not limited.

    bench/proxy.py --log FILE [--trace] LISTEN=TARGET@RTT...        127.51.0.1:22=10.87.0.1:22@50

RTT is in milliseconds, for each pair of its own. The handshake costs its round trip too: the server sees the
connection one and a half round trips after the client asked for it, and the client's first bytes no earlier.
What is not modelled: slow start, loss, and a limit of bandwidth.
It says "ready" when it listens, and writes a line of JSON to the log when a connection ends.
"""

import argparse
import contextlib
import heapq
import itertools
import json
import select
import socket
import sys
import time
from collections import deque

PIECE = 1 << 16
AHEAD = 1 << 24  # bytes on the way, per direction, before the sender has to wait


class Way:
    """One direction of a connection: what is on the way, and what the receiver has not taken yet."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.on_the_way = 0
        self.total = 0
        self.arrived = deque()
        self.ended = False  # the source has closed
        self.finished = False  # and the target knows


class Connection:
    """A client, its server, and when what happened."""

    def __init__(self, client, place):
        self.client, self.place = client, place
        self.server = None
        self.began = time.monotonic()
        self.up = Way(client, None)
        self.down = Way(None, client)
        self.turns = 0  # how often the client spoke after it had been told something
        self.told = True
        self.trace = []

    def seen(self, mark, size, *, trace):
        if mark == ">":
            self.turns += self.told
            self.told = False
        else:
            self.told = True
        if trace:
            self.trace.append([round((time.monotonic() - self.began) * 1000, 2), mark, size])

    def summary(self):
        return {
            "at": self.place.name,
            "began": self.began,
            "seconds": time.monotonic() - self.began,
            "up": self.up.total,
            "down": self.down.total,
            "turns": self.turns,
            "trace": self.trace,
        }


class Place:
    """Where the proxy listens, for which server, how far away."""

    def __init__(self, text):
        self.name, _, rest = text.partition("=")
        target, _, rtt = rest.partition("@")
        self.target = endpoint(target)
        self.half = float(rtt) / 2000
        self.socket = socket.create_server(endpoint(self.name), backlog=256)
        self.socket.setblocking(False)


def endpoint(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Proxy:
    """The loop: sockets that are ready, and bytes whose time has come."""

    def __init__(self, places, log, *, trace):
        self.log, self.trace = log, trace
        self.poll = select.epoll()
        self.ready = {}  # descriptor -> what to do when it can be read
        self.full = {}  # descriptor -> (connection, way) whose target takes no more
        self.watched = {}  # descriptor -> what the kernel is asked to tell
        self.timers = []
        self.number = itertools.count()
        for place in places:
            self.when_readable(place.socket, self.accept, place)

    def when_readable(self, sock, action, *arguments):
        self.ready[sock.fileno()] = (action, arguments)
        self.attend(sock)

    def stop_reading(self, sock):
        if self.ready.pop(sock.fileno(), None):
            self.attend(sock)

    def attend(self, sock):
        """Have the kernel tell of just what we wait for."""
        descriptor = sock.fileno()
        wanted = (descriptor in self.ready and select.EPOLLIN) | (descriptor in self.full and select.EPOLLOUT)
        if not wanted:
            if self.watched.pop(descriptor, None):
                self.poll.unregister(descriptor)
        elif descriptor not in self.watched:
            self.poll.register(descriptor, wanted)
        elif self.watched[descriptor] != wanted:
            self.poll.modify(descriptor, wanted)
        if wanted:
            self.watched[descriptor] = wanted

    def after(self, due, action, *arguments):
        heapq.heappush(self.timers, (due, next(self.number), action, arguments))

    def run(self):
        while True:
            self.fire()
            patience = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else None
            select.select([self.poll], [], [], patience)  # epoll's own patience is in milliseconds
            for descriptor, event in self.poll.poll(0):
                if event & select.EPOLLOUT and descriptor in self.full:
                    self.flush(*self.full[descriptor])
                if event & ~select.EPOLLOUT and descriptor in self.ready:
                    action, arguments = self.ready[descriptor]
                    action(*arguments)

    def fire(self):
        while self.timers and self.timers[0][0] <= time.monotonic():
            _, _, action, arguments = heapq.heappop(self.timers)
            action(*arguments)

    def accept(self, place):
        client, _ = place.socket.accept()
        ours(client)
        connection = Connection(client, place)
        self.when_readable(client, self.read, connection, connection.up)
        self.after(connection.began + 3 * place.half, self.reach, connection)

    def reach(self, connection):
        try:
            server = socket.create_connection(connection.place.target)
        except OSError:
            self.forget(connection.client)
            return
        ours(server)
        connection.server = connection.up.target = connection.down.source = server
        self.when_readable(server, self.read, connection, connection.down)

    def read(self, connection, way):
        now, half = time.monotonic(), connection.place.half
        try:
            data = way.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        due = now + half
        if way is connection.up:
            if data:
                connection.seen(">", len(data), trace=self.trace)
            due = max(due, connection.began + 3 * half)
        if not data:
            self.stop_reading(way.source)
            way.ended = True
        way.on_the_way += len(data)
        way.total += len(data)
        if way.on_the_way > AHEAD:
            self.stop_reading(way.source)
        self.after(due, self.arrive, connection, way, data)

    def arrive(self, connection, way, data):
        if way.target is None:  # it could not be reached
            return
        if way is connection.down:
            connection.seen("<", len(data), trace=self.trace)
        way.arrived.append(data)
        self.flush(connection, way)

    def flush(self, connection, way):
        while way.arrived:
            data = way.arrived[0]
            if not data:
                self.finish(connection, way)
                return
            try:
                sent = way.target.send(data)
            except BlockingIOError:
                self.full[way.target.fileno()] = (connection, way)
                self.attend(way.target)
                return
            except OSError:  # it has gone: what comes for it is dropped
                sent = len(data)
            way.arrived[0] = data[sent:]
            if sent == len(data):
                way.arrived.popleft()
            way.on_the_way -= sent
            if not way.ended and way.source.fileno() >= 0 and way.source.fileno() not in self.ready:
                self.when_readable(way.source, self.read, connection, way)
        if self.full.pop(way.target.fileno(), None):
            self.attend(way.target)

    def finish(self, connection, way):
        with contextlib.suppress(OSError):  # it has gone already
            way.target.shutdown(socket.SHUT_WR)
        way.finished = True
        if connection.up.finished and connection.down.finished:
            self.forget(connection.client)
            self.forget(connection.server)
            print(json.dumps(connection.summary()), file=self.log, flush=True)

    def forget(self, sock):
        self.ready.pop(sock.fileno(), None)
        self.full.pop(sock.fileno(), None)
        self.attend(sock)
        sock.close()


def ours(sock):
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True)
    parser.add_argument("--trace", action="store_true", help="every piece, with its time, in the log")
    parser.add_argument("places", nargs="+", metavar="LISTEN=TARGET@RTT")
    options = parser.parse_args()
    with open(options.log, "a") as log:
        proxy = Proxy([Place(text) for text in options.places], log, trace=options.trace)
        print("ready", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            proxy.run()


if __name__ == "__main__":
    sys.exit(main())
