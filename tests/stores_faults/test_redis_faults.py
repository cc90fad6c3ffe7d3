"""Redis goes away under 500 requests a second through a real gateway: nobody is signed out, nobody
is taken for somebody else, what is public does not notice, and soon after all is well again.

``make faults`` lets each scenario happen again and again for a while (``GATEWAY_FAULTS`` seconds).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.stores.redis import RedisStore
from tests.servers import RedisServer
from tests.stores_faults.redis_scenarios import Cluster, Sentinels
from tests.stores_faults.rounds import CODEC, survive
from tests.stores_faults.scenario import Alone, Scenario


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Alone(RedisServer(), "killed"), id="killed and started again"),
        pytest.param(lambda: Alone(RedisServer(), "paused"), id="paused"),
        pytest.param(lambda: Sentinels("killed"), id="a primary with Sentinels killed"),
        pytest.param(lambda: Sentinels("paused"), id="a primary with Sentinels paused"),
        pytest.param(lambda: Sentinels("told"), id="a fail-over on demand"),
        pytest.param(lambda: Cluster("killed"), id="a primary of a Cluster killed"),
        pytest.param(lambda: Cluster("paused"), id="a primary of a Cluster paused"),
    ],
)
async def test_redis_goes_and_comes_back(make: Callable[[], Scenario], tmp_path: Path) -> None:
    scenario = make()
    await survive(scenario, RedisStore(scenario.url, codec=CODEC), tmp_path)
