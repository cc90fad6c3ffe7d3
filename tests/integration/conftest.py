"""One gateway and one upstream a module: its ``CONFIG``, or ``USUAL``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Upstream

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
def running_gateway(
    request: pytest.FixtureRequest,
    running_upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    config: str = getattr(request.module, "CONFIG", USUAL)
    with GatewayProcess(folder, config, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


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
