"""Lines on their way to stdout or stderr, without making anybody wait."""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LIMIT = 4 * 1024 * 1024
PIECE = select.PIPE_BUF
"""Bytes that are written at once, but for a line that is longer. Several workers share one stdout:
what goes into a pipe in pieces of at most this size is never mixed with what others write. And
whoever is killed while it writes to a file leaves half a line seldom enough: see ``mend``."""


class LineWriter:
    """Writes whole lines to a file descriptor, in order, and never waits for its reader.

    Whoever reads our log may stall or go away, and the gateway goes on: what waits is limited to
    4 MiB, what comes on top is dropped and counted, and a broken stream swallows everything.

    A thread that may block would be simpler, but it gets the interpreter's lock back only every
    5 ms from a busy event loop: too slow for 20,000 lines a second.
    """

    def __init__(self, fd: int) -> None:
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._over = False
        self.dropped = 0
        """Bytes that nobody will read."""
        # A descriptor of our own: the number of one that its owner closes is soon another file's.
        self._fd = os.dup(fd)
        self._socket: socket.socket | None = None
        self._send: Callable[[bytes], int] = self._send_if_writable
        mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        if stat.S_ISSOCK(mode):  # systemd's journal
            self._socket = ours = socket.socket(fileno=self._fd)
            self._send = lambda piece: ours.send(piece, socket.MSG_DONTWAIT)
        elif not self._is_file:
            self._reopen()

    @property
    def waiting(self) -> int:
        """How many bytes the reader has not taken yet; the next write tries again."""
        return len(self._waiting)

    def write(self, lines: bytes | bytearray) -> None:
        """Take lines, each with its line feed; return at once. Any thread may."""
        with self._lock:
            if self._over or len(self._waiting) + len(lines) > _LIMIT:
                self.dropped += len(lines)
            else:
                self._waiting += lines
            self._pass_on()

    def mend(self) -> None:
        """End a line that a process was killed in, so that the next one begins on its own.

        The kernel breaks off a write to a file where it goes from one page to the next. What goes
        into a pipe is whole.
        """
        if not self._is_file:
            return
        try:
            # Opened once more: ours may be for writing only.
            with Path(f"/proc/self/fd/{self._fd}").open("rb") as file:
                file.seek(-1, os.SEEK_END)
                broken = file.read(1) != b"\n"
        except OSError:  # empty, or not for us to read
            return
        if broken:
            self.write(b"\n")

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for at most ``timeout`` seconds. The given descriptor stays open."""
        until = time.monotonic() + timeout
        with self._lock:
            self._pass_on()
            while self._waiting and (left := until - time.monotonic()) > 0:
                self._poll(left)
                self._pass_on()
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._over = True
            if self._socket is not None:
                self._socket.close()
            elif self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _pass_on(self) -> None:
        waiting, at = self._waiting, 0
        try:
            while at < len(waiting):
                end = waiting.rfind(b"\n", at, at + PIECE) + 1
                if end == 0:  # a line longer than a piece, or the rest of one
                    end = waiting.find(b"\n", at) + 1 or len(waiting)
                at += self._send(bytes(waiting[at:end]))
        except BlockingIOError:
            pass
        except OSError:  # EPIPE, EIO: nobody reads this any more
            self._over = True
            self.dropped += len(waiting) - at
            at = len(waiting)
        del waiting[:at]

    def _reopen(self) -> None:
        """Open a pipe or terminal once more, to make it non-blocking for us alone.

        ``O_NONBLOCK`` belongs to the open file, which we share with the shell and other workers.
        Where this is not possible (not Linux, not our file any more), ``poll`` is asked first.
        """
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        try:
            reopened = os.open(f"/proc/self/fd/{self._fd}", flags)
        except OSError:
            return
        os.close(self._fd)
        self._fd = reopened
        self._send = self._send_unasked

    def _send_unasked(self, piece: bytes) -> int:
        return os.write(self._fd, piece)

    def _send_if_writable(self, piece: bytes) -> int:
        if not self._poll(0):
            raise BlockingIOError
        return os.write(self._fd, piece)

    def _poll(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
