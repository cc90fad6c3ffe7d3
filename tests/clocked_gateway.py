"""A gateway at a time of the test's choice: ``python -m tests.clocked_gateway CLOCK CONFIG``.

The clock is a file of eight bytes, which the test writes: what time it is, as Unix seconds.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
from pathlib import Path
from struct import pack, unpack
from typing import Any

from gateway.config.load import load_file
from gateway.server.app import serve
from gateway.server.clock import Clock
from tests.gateway_process import GatewayProcess


class FileClock(Clock):
    """The time that is in a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        with file.open("rb") as opened:
            bytes_of_it = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)

        def wall() -> float:
            time: float = unpack("d", bytes_of_it[:8])[0]
            return time

        # In the place of the method of the class: the gateway takes it from the instance.
        self.wall = wall  # type: ignore[method-assign]


class ClockedGateway(GatewayProcess):
    """A ``GatewayProcess`` whose clock stands still until it is set."""

    def __init__(self, folder: Path, config: str, now: float, **environment: object) -> None:
        super().__init__(folder, config, **environment)
        self._clock = folder / "clock"
        self.at(now)
        self.environment["PYTHONPATH"] = str(Path(__file__).parent.parent)

    def at(self, now: float) -> None:
        """Let it be this time, in Unix seconds."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as opened:
            opened.write(pack("d", now))

    def run_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.clocked_gateway", str(self._clock), str(self.config)]


def main(clock: str, config: str) -> Any:
    asyncio.run(serve(load_file(Path(config), os.environ), clock=FileClock(Path(clock))))


if __name__ == "__main__":
    main(*sys.argv[1:])
