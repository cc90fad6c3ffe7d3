"""PostgreSQL goes away under 500 requests a second through a real gateway: nobody is signed out,
nobody is taken for somebody else, what is public does not notice, and soon after all is well again.

``make faults`` lets each of these happen again and again for ``GATEWAY_FAULTS`` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.stores.postgres import PostgresStore
from tests.servers import PostgresServer
from tests.stores_faults.rounds import CODEC, survive
from tests.stores_faults.scenario import Alone, Scenario


class Cut(Alone):
    """A server that goes on, whose connections end."""

    def __init__(self) -> None:
        super().__init__(PostgresServer(), "cut")

    async def lose(self, key: str) -> None:
        await asyncio.to_thread(
            self._server.command,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'session-gateway'",
        )

    async def regain(self, after: float) -> None:
        return


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Alone(PostgresServer(), "killed"), id="killed"),
        pytest.param(lambda: Alone(PostgresServer(), "paused"), id="paused"),
        pytest.param(lambda: Alone(PostgresServer(), "restarted"), id="restarted"),
        pytest.param(Cut, id="every connection cut"),
    ],
)
async def test_postgresql_goes_and_comes_back(make: Callable[[], Scenario], tmp_path: Path) -> None:
    scenario = make()
    await survive(scenario, PostgresStore(scenario.url, codec=CODEC), tmp_path)
