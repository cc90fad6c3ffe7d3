"""Real servers for tests: found, started on free loopback ports, stopped.

A server that is not installed fails the test that needs it, with a sentence saying what to install.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


def free_port() -> int:
    """Return a loopback port that nobody listens on now.

    It is none of those that Linux gives to outgoing connections, of which one might have it by the
    time that a server is started there.
    """
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = random.randrange(10_000, 32_768)
            listener.bind(("127.0.0.1", port))
            return port


def program(name: str, package: str) -> str:
    """Return the path of an installed program, or fail the test."""
    # Debian keeps servers in /usr/sbin, which an ordinary user's PATH leaves out.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.fail(f"{name} is needed by this test and not installed: apt-get install {package}")
    return path


def wait_for(condition: Callable[[], object], *, seconds: float = 5.0, what: str = "") -> None:
    """Return once the condition holds; fail the test when it does not in time. Blocks."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        time.sleep(0.005)


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], *, seconds: float = 5.0, what: str = ""
) -> float:
    """Return once the condition (a function, plain or async) holds, with the seconds it took.

    Fails the test when it does not in time. The event loop runs meanwhile.
    """
    start = time.monotonic()
    while True:
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        if holds:
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        await asyncio.sleep(0.002)


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RedisServer:
    """A redis-server of our own, in a folder of its own, on a free loopback port.

    What it keeps survives ``stop`` and ``start``. ``pause`` makes it accept connections and
    answer nothing, as a server does that hangs.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="redis-test-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resume()
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [program("redis-server", "redis-server"), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--dir", self._folder.name]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        wait_for(self._answers, seconds=10.0, what="redis-server answers")

    def stop(self) -> None:
        """End it; what it held is on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are accepted, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str, options: Sequence[str] = ()) -> str:
        """Return what ``redis-cli`` prints, as somebody does who works on the server by hand."""
        call = [program("redis-cli", "redis-tools"), "-p", str(self.port), *options, *words]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout

    def on_disk(self) -> bytes:
        """Return all that the server has written down."""
        files = (path for path in Path(self._folder.name).rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (Path(self._folder.name) / "log").read_text(errors="replace")
            pytest.fail(f"redis-server ended at once:\n{log}")
        # An error about a missing password will do as well: the file is loaded.
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as probe:
                probe.settimeout(0.5)
                probe.sendall(b"PING\r\n")
                answer = probe.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))
