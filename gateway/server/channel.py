"""Messages between the parent process and a worker, over a pair of sockets of their own.

Nobody else can write to these sockets, and both ends are the same program: ``pickle`` will do.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config.config import Config

_SIZE = 4
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it answers requests."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: it cannot serve, and says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Reload:
    """To a worker: here is another configuration."""

    config: Config


@dataclass(frozen=True, slots=True)
class Reloaded:
    """From a worker: it goes by the other configuration, or not, and why."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class CountAll:
    """From a worker: somebody asks for the numbers of all; here are its own."""

    ticket: int
    numbers: bytes


@dataclass(frozen=True, slots=True)
class Count:
    """To a worker: it is asked for its numbers."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Counted:
    """From a worker: its numbers."""

    ticket: int
    numbers: bytes


@dataclass(frozen=True, slots=True)
class CountedAll:
    """To a worker: the numbers of all others."""

    ticket: int
    numbers: tuple[bytes, ...]


Message = Ready | Failed | Reload | Reloaded | CountAll | Count | Counted | CountedAll


class Channel:
    """One end. Nothing here waits: what cannot be sent now is kept for ``flush``."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._incoming = bytearray()
        self._outgoing = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether there is something left to send."""
        return bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Send a message, or keep it. To somebody who is gone it is lost."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._outgoing += len(data).to_bytes(_SIZE, "big") + data
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        try:
            while self._outgoing:
                del self._outgoing[: self.socket.send(self._outgoing[:_PIECE])]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()

    def receive(self) -> Iterator[Message]:
        """Yield the messages that have come.

        Raises:
            EOFError: The other end is closed.
        """
        try:
            while True:
                data = self.socket.recv(_PIECE)
                if not data:
                    raise EOFError
                self._incoming += data
                yield from self._whole()
        except BlockingIOError:
            pass
        except OSError as error:
            raise EOFError from error

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def _whole(self) -> Iterator[Message]:
        held = self._incoming
        while len(held) >= _SIZE:
            end = _SIZE + int.from_bytes(held[:_SIZE], "big")
            if len(held) < end:
                return
            message: Message = pickle.loads(held[_SIZE:end])  # noqa: S301  see the module
            del held[:end]
            yield message
