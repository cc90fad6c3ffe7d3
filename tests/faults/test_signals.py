"""SIGHUP and SIGTERM under load: no request fails.

500 requests a second, of all kinds, over connections that are kept; 4 reloads, with
``GATEWAY_FAULTS`` (``make faults``) 20. Prints what was sent and how it ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.conftest import SignedIn
from tests.faults.load import Load, Outcome, Result
from tests.faults.processes import UpstreamProcess
from tests.gateway_process import GatewayProcess
from tests.servers import wait_for, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 500.0
RELOADS = 20 if "GATEWAY_FAULTS" in os.environ else 4

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  workers: ${WORKERS}
  drain_timeout: 10s
  request_log: false
session: {store: "${STORE}"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /app/**, access: login}
"""
NEW = CONFIG + "  - {path: /new/**, access: public}\n"


@pytest_asyncio.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[UpstreamProcess]:
    async with UpstreamProcess(tmp_path, "app") as upstream:
        yield upstream


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def gateway(
    request: pytest.FixtureRequest,
    upstream: UpstreamProcess,
    signed_in: SignedIn,
    tmp_path: Path,
) -> Iterator[GatewayProcess]:
    """A gateway of the test's own, since the test ends it."""
    environment = {"WORKERS": request.param, "UPSTREAM": upstream.url, "STORE": signed_in.store}
    with GatewayProcess(tmp_path, CONFIG, **environment) as gateway:
        wait_for(lambda: gateway.log("listening"), what="every worker serves")
        yield gateway


async def test_no_request_fails(
    gateway: GatewayProcess, upstream: UpstreamProcess, signed_in: SignedIn
) -> None:
    load = Load(gateway.port, "/app", "app", rate=RATE, users=signed_in.users)

    async def goes_on() -> None:
        until = load.answered + RATE / 4
        await wait_until(lambda: load.answered >= until, seconds=15.0, what="they are answered")

    await goes_on()
    for number in range(RELOADS):
        gateway.rewrite(CONFIG if number % 2 else NEW)
        gateway.send_signal(signal.SIGHUP)
        await wait_until(lambda: len(gateway.log("reloaded")) > number)  # noqa: B023
        await goes_on()
    for worker in workers(gateway):
        before = len(gateway.log("worker started"))
        os.kill(worker, signal.SIGTERM)
        await wait_until(lambda: len(gateway.log("worker started")) > before)  # noqa: B023
        await goes_on()

    told_to_stop = len(load.results)
    gateway.send_signal(signal.SIGTERM)
    await wait_until(lambda: not gateway.running, seconds=10.0, what="it ends")
    results = await load.end()
    assert gateway.wait() == 0
    print(f"{len(results)} requests, {RELOADS} reloads, {counted(results)}")
    assert {result.outcome for result in results[:told_to_stop]} == {Outcome.WHOLE}
    # Whom nobody listens to any more has asked nothing: that is how clients learn to go elsewhere.
    after = {result.outcome for result in results[told_to_stop:]}
    assert Outcome.REFUSED in after <= {Outcome.WHOLE, Outcome.REFUSED}
    asked = {result.nonce for result in results if result.outcome is Outcome.WHOLE}
    assert {nonce for _, nonce in upstream.seen()} == asked


def workers(gateway: GatewayProcess) -> list[int]:
    """Return the processes behind the one that was started; none where it serves itself."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def counted(results: list[Result]) -> str:
    labels = sorted({result.label for result in results})
    return ", ".join(f"{sum(r.label == label for r in results)} {label}" for label in labels)
