"""The sockets that clients connect to: opened before anything is served, kept while workers change.

Measured with two and four workers: a socket for each (``SO_REUSEPORT``) spreads connections evenly
and costs least. One shared socket gives most of a burst to whichever worker wakes first, 31 of 32.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.config import Listener, ServerConfig

BACKLOG = 1024
_FIRST_PASSED = 3  # sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class Opened:
    """A listener with its sockets."""

    listener: Listener
    """With the port that the system chose, where the file says 0."""
    shares: tuple[tuple[socket.socket, ...], ...]
    """For each worker the sockets that it accepts on; those of systemd and Unix are everybody's."""

    def close(self) -> None:
        """Close every socket."""
        for share in self.shares:
            for each in share:
                each.close()


@dataclass(frozen=True, slots=True)
class Sockets:
    """Every socket of a gateway."""

    public: tuple[Opened, ...]
    admin: Opened | None

    def keep(self, worker: int) -> None:
        """Close what only other workers use: who holds a socket keeps it open."""
        for opened in self._all():
            kept = opened.shares[worker]
            for share in opened.shares:
                for each in share:
                    if each not in kept:
                        each.close()

    def narrow(self) -> None:
        """Let nobody else into the queues: whoever is there is still accepted.

        Closing a socket resets the connections in its queue. This holds for every process that
        has the socket, so it is for the end of all of them.
        """
        for opened in self.public:
            for share in opened.shares:
                for each in share:
                    with suppress(OSError):  # closed, or shared and told already
                        each.listen(0)

    def close(self) -> None:
        """Close every socket."""
        for opened in self._all():
            opened.close()

    def _all(self) -> Iterable[Opened]:
        return self.public if self.admin is None else (*self.public, self.admin)


def open_sockets(server: ServerConfig, workers: int, env: MutableMapping[str, str]) -> Sockets:
    """Open every socket that the configuration names, or none.

    Args:
        env: Where systemd says what it passes; taken out, so that no child takes it for itself.

    Raises:
        OSError: An address cannot be had; says which.
    """
    passed = _passed(env)
    names = {listener.systemd for listener in server.listen}
    if server.admin is not None:
        names.add(server.admin.listen.systemd)
    opened: list[Opened] = []
    try:
        for listener in server.listen:
            opened.append(_open(listener, workers, passed, names))
        # Any worker may answer for all: one socket will do.
        admin = (
            _open(server.admin.listen, workers, passed, names, shared=True)
            if server.admin
            else None
        )
    except BaseException:
        for each in opened:
            each.close()
        raise
    return Sockets(tuple(opened), admin)


def _open(
    listener: Listener,
    workers: int,
    passed: list[tuple[str, socket.socket]],
    names: set[str | None],
    *,
    shared: bool = False,
) -> Opened:
    if listener.systemd is not None:
        wanted = listener.systemd
        ours = tuple(s for name, s in passed if (name == wanted if wanted else name not in names))
        if not ours:
            raise OSError(f"{listener}: systemd passed no such socket (LISTEN_FDS, LISTEN_FDNAMES)")
        return Opened(listener, (ours,) * workers)
    if listener.path is not None:
        return Opened(listener, ((_unix(Path(listener.path), listener.mode),),) * workers)
    return _tcp(listener, workers, shared=shared or workers == 1)


# --- TCP -----------------------------------------------------------------------------------------


def _tcp(listener: Listener, workers: int, *, shared: bool) -> Opened:
    shared = shared or sys.platform != "linux"  # elsewhere it does not spread connections
    shares: list[tuple[socket.socket, ...]] = []
    port = listener.port
    try:
        for family, address in _addresses(listener):
            first = _bound(family, address, port, reuse=False)
            port = first.getsockname()[1]
            if shared:
                each = [first] * workers
            else:
                # The first was to find out whether somebody else has the address.
                first.close()
                each = [_bound(family, address, port, reuse=True) for _ in range(workers)]
            shares.append(tuple(each))
            for bound in each:
                bound.listen(BACKLOG)
    except OSError as error:
        for share in shares:
            for bound in share:
                bound.close()
        raise OSError(error.errno, f"{listener}: {error.strerror or error}") from error
    return Opened(replace(listener, port=port), tuple(zip(*shares, strict=True)))


def _addresses(listener: Listener) -> Iterable[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(
        listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)


def _bound(family: socket.AddressFamily, address: str, port: int, *, reuse: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


# --- Unix sockets --------------------------------------------------------------------------------


def _unix(path: Path, mode: int | None) -> socket.socket:
    """Listen on a Unix socket; one that a killed gateway left behind is taken over."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.setblocking(False)
    try:
        _make_room(path)
        bound.bind(str(path))
        if mode is not None:
            path.chmod(mode)  # nobody can connect before `listen`
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{path}: {error.strerror or error}") from error
    return bound


def _make_room(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "there is something that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink(missing_ok=True)


# --- systemd -------------------------------------------------------------------------------------


def _passed(env: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Return what systemd passes, by name (sd_listen_fds_with_names(3))."""
    pid, count, names = (env.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    named = names.split(":") + ["unknown"] * int(count)
    sockets = []
    for at in range(int(count)):
        fd = _FIRST_PASSED + at
        os.set_inheritable(fd, False)
        passed = socket.socket(fileno=fd)
        if passed.type != socket.SOCK_STREAM or not _accepts(passed):
            raise OSError(f"systemd passed a socket that accepts no connections: {named[at]}")
        passed.setblocking(False)
        sockets.append((named[at], passed))
    return sockets


def _accepts(passed: socket.socket) -> bool:
    return bool(passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
