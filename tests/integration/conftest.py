"""One gateway and one upstream a module: its ``CONFIG``, or ``USUAL``.

Besides, where a module asks for them: a Redis, and what the gateway's store holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.model import Lifetime
from gateway.stores.codec import codec_for
from gateway.stores.keeper import Keeper
from gateway.stores.sqlite import SqliteStore
from tests.gateway_process import GatewayProcess
from tests.integration.wire import Upstream
from tests.servers import RedisServer

USUAL = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
roles:
  reader: {permissions: ["reports:read"]}
  admin: {inherits: [reader], permissions: ["reports:write"]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /admin/**, access: login, role: admin}
  - {path: /small/**, access: public, max_body: 1KiB}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def environment() -> dict[str, object]:
    """What the configuration reads there, besides the upstream's address."""
    return {}


@pytest.fixture(scope="module")
def running_gateway(
    request: pytest.FixtureRequest,
    running_upstream: Upstream,
    environment: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    config: str = getattr(request.module, "CONFIG", USUAL)
    passed = {"UPSTREAM": running_upstream.url, **environment}
    with GatewayProcess(folder, config, **passed) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keeper(
    request: pytest.FixtureRequest, running_gateway: GatewayProcess
) -> AsyncIterator[Keeper]:
    """What the gateway's SQLite store holds, as another process sees it that knows ``SECRET``."""
    store = SqliteStore(
        str(running_gateway.folder / "sessions.db"),
        timeout=5.0,
        codec=codec_for([request.module.SECRET], encrypt=True),
    )
    await store.open()
    yield Keeper(store, Lifetime())
    await store.close()


@pytest.fixture
def upstream(running_upstream: Upstream) -> Upstream:
    """The upstream of the module's gateway, as if nothing had been asked yet."""
    running_upstream.forget()
    return running_upstream


@pytest.fixture
def gateway(running_gateway: GatewayProcess, upstream: Upstream) -> Iterator[GatewayProcess]:
    """The module's gateway; that a test makes it stumble fails the test."""
    yield running_gateway
    running_gateway.assert_no_traceback()
