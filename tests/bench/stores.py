"""Where sessions are kept, and what can be counted there: commands, touches, CPU.

Servers count for themselves. SQLite runs in the gateway, and has nobody who would:
``counting_sqlite`` does.
"""

from __future__ import annotations

import math
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.bench import counting_sqlite
from tests.bench.measure import Unusable, cpu_seconds
from tests.servers import PostgresServer, RedisServer

SERVERS = ("redis", "postgresql")
_OWN = "pg_stat_statements"  # in every statement that asks how many there were


class Store(Protocol):
    """What was asked of a store since it was started. Counts only grow."""

    @property
    def url(self) -> str:
        """For ``session.store``; empty: there is none."""
        ...

    def commands(self) -> int:
        """Return the commands that it got, our own questions for this number not among them."""
        ...

    def touches(self) -> int:
        """Return how often a session's expiry was moved, if nothing else was written meanwhile."""
        ...

    def cpu_seconds(self) -> float:
        """Return what its processes took; NaN where it runs in the gateway's."""
        ...


class Redis:
    """A Redis server: ``INFO commandstats``, heartbeats and what scripts call included."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.url = server.url
        found = re.search(r"^process_id:(\d+)", server.command("INFO", "server"), re.MULTILINE)
        self._pid = int(found[1]) if found else 0

    def commands(self) -> int:
        return sum(count for name, count in self._calls().items() if name != "info")

    def touches(self) -> int:
        # A touch is a script.
        return self._calls().get("evalsha", 0)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._pid)

    def _calls(self) -> dict[str, int]:
        said = self._server.command("INFO", "commandstats")
        return {name: int(calls) for name, calls in re.findall(r"cmdstat_(\S+?):calls=(\d+)", said)}


class Postgresql:
    """A PostgreSQL server: ``pg_stat_statements``, which costs it a little itself."""

    OPTION = f"shared_preload_libraries={_OWN}"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.url
        server.command(f"CREATE EXTENSION {_OWN}")
        self._pid = int(
            server.command("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
        )

    def commands(self) -> int:
        return self._calls(f"query NOT LIKE '%{_OWN}%'")

    def touches(self) -> int:
        return self._calls("query LIKE 'UPDATE gateway_sessions SET touched_at%'")

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._pid)

    def _calls(self, which: str) -> int:
        return int(
            self._server.command(f"SELECT coalesce(sum(calls), 0) FROM {_OWN} WHERE {which}")
        )


class Sqlite:
    """A file in the gateway's folder; the statements of a gateway that ``counting_sqlite`` runs."""

    url = "sqlite:///sessions.db"

    def __init__(self, folder: Path) -> None:
        self.counts = folder / "statements"

    def commands(self) -> int:
        return counting_sqlite.read(self.counts)[0]

    def touches(self) -> int:
        return counting_sqlite.read(self.counts)[1]

    def cpu_seconds(self) -> float:
        return math.nan


class InProcess:
    """The gateway's memory, or nothing: nobody is asked."""

    def __init__(self, url: str) -> None:
        self.url = url

    def commands(self) -> int:
        return 0

    def touches(self) -> int:
        return 0

    def cpu_seconds(self) -> float:
        return math.nan


def start(name: str, stack: ExitStack) -> Store:
    """Start a server that keeps sessions; Unusable where that cannot be."""
    try:
        if name == "redis":
            return Redis(stack.enter_context(RedisServer("--appendonly", "no")))
        return Postgresql(stack.enter_context(PostgresServer(Postgresql.OPTION)))
    except (pytest.fail.Exception, subprocess.CalledProcessError) as error:
        raise Unusable(f"{name}: {str(error).strip() or 'does not start'}") from None
