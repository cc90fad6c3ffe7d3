"""``tests.faults.upstream`` as a process that a test can kill, pause, or tell to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers import free_port, listens, wait_until

_TAIL = 1024


class UpstreamProcess:
    """An application on a port that stays the same, and its record of what it was asked."""

    def __init__(self, folder: Path, name: str) -> None:
        self.port = free_port()
        self._record = folder / f"{name}.record"
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.serves()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        said = self._log.read_text()
        assert error is not None or said == "", said

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.upstream", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._record)], stdin=subprocess.PIPE, stderr=log
            )

    async def serves(self) -> None:
        await wait_until(lambda: listens(self.port), seconds=15.0, what="the upstream listens")

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def become(self, fault: str) -> None:
        """Let it answer with a fault from now on, or ``well``; ``rest`` closes what is idle."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(fault.encode() + b"\n")
        self._process.stdin.flush()

    def seen(self) -> Counter[tuple[str, str]]:
        """Count the requests it saw, by method and nonce."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter((method, nonce) for method, _, nonce in (li.partition(" ") for li in lines))

    def last_seen(self) -> list[str]:
        """Return the nonces of the last requests it saw: some dozens."""
        with self._record.open("rb") as file:
            file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = file.read().decode().split("\n")[1:-1]  # the first may be cut
        return [line.partition(" ")[2] for line in lines]
