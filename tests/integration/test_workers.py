"""Several workers: one gateway to everybody outside, whatever becomes of each of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import BrokenAnswer, Client, Received, Upstream
from tests.servers import listens, wait_for, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: [127.0.0.1:${PORT}, "unix:${SOCKET}"]
  admin: 127.0.0.1:${ADMIN_PORT}
  workers: 2
  drain_timeout: 5s
  request_log: ${REQUEST_LOG}
session: {store: "${STORE:-sqlite:///sessions.db}"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
  - {path: /login/**, access: login}
"""
NEW = CONFIG + "  - {path: /closed/**, access: deny}\n"


@pytest.fixture
def request_log() -> str:
    """Off where workers are killed: SIGKILL may cut a line short that goes to a file."""
    return "false"


@pytest.fixture
def running_gateway(
    running_upstream: Upstream, tmp_path: Path, request_log: str
) -> Iterator[GatewayProcess]:
    """A gateway of the test's own: most tests here take something from it."""
    environment = {"SOCKET": tmp_path / "public.sock", "REQUEST_LOG": request_log}
    with GatewayProcess(tmp_path, CONFIG, UPSTREAM=running_upstream.url, **environment) as gateway:
        wait_for(lambda: gateway.log("listening"), what="every worker serves")
        yield gateway


def asking(path: str = "/x", *fields: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""])


def workers(gateway: GatewayProcess) -> list[int]:
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def by_worker(upstream: Upstream) -> Counter[str]:
    """Count requests by the part of their ids that each worker has its own of."""
    return Counter((request.get("X-Request-Id") or "")[:16] for request in upstream.requests)


class Load:
    """Clients that ask again and again, each over a few requests a connection."""

    def __init__(self, gateway: GatewayProcess, clients: int = 16) -> None:
        self._port = gateway.port
        self.answered = 0
        self.failed: list[BaseException] = []
        self.over = False
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(clients)]

    async def _client(self) -> None:
        while not self.over:
            try:
                async with Client(self._port) as client:
                    for _ in range(10):
                        answer = await client.ask(asking())
                        assert (answer.status, answer.body) == (200, b"ok")
                        self.answered += 1
                        if self.over or answer.get("Connection") == "close":
                            break
            except ConnectionRefusedError:
                return  # nobody listens any more: nothing was asked
            except (OSError, BrokenAnswer, TimeoutError) as error:
                self.failed.append(error)

    async def goes_on(self, requests: int = 200) -> None:
        """Return when so many more requests were answered."""
        until = self.answered + requests
        await wait_until(lambda: self.answered >= until, seconds=10.0, what="requests answered")

    async def end(self) -> None:
        self.over = True
        await asyncio.gather(*self._tasks)


async def test_connections_spread_evenly(gateway: GatewayProcess, upstream: Upstream) -> None:
    for _ in range(400):
        async with Client(gateway.port) as client:
            assert (await client.ask(asking())).status == 200
    shares = by_worker(upstream)
    assert len(shares) == 2
    assert all(abs(share - 200) <= 60 for share in shares.values()), shares


async def test_a_killed_worker_takes_its_own_requests_along_and_nobody_elses(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    clients = 16
    load = Load(gateway, clients)
    await load.goes_on()
    before = workers(gateway)
    os.kill(before[0], signal.SIGKILL)
    await wait_until(lambda: len(gateway.log("worker started")) == 1, seconds=2.0)
    assert len(workers(gateway)) == 2
    assert before[1] in workers(gateway)
    upstream.requests.clear()
    failed = len(load.failed)
    await load.goes_on(400)
    await load.end()
    assert failed < clients  # those that the other one had went on
    assert load.failed[failed:] == []
    assert len(by_worker(upstream)) == 2
    [line] = gateway.log("worker ended")
    assert (line["pid"], line["status"]) == (before[0], -signal.SIGKILL)


async def test_a_worker_that_is_told_to_stop_is_replaced_and_nothing_fails(
    gateway: GatewayProcess,
) -> None:
    load = Load(gateway)
    await load.goes_on()
    os.kill(workers(gateway)[0], signal.SIGTERM)
    await wait_until(lambda: gateway.log("worker started"), seconds=5.0)
    await load.goes_on()
    await load.end()
    assert load.failed == []


async def test_sigterm_under_load_fails_no_request(gateway: GatewayProcess) -> None:
    load = Load(gateway)
    await load.goes_on()
    gateway.send_signal(signal.SIGTERM)
    await wait_until(lambda: not gateway.running, seconds=8.0)
    await load.end()
    assert load.failed == []
    assert gateway.wait() == 0
    assert [line["event"] for line in gateway.log()][-1] == "stopped"
    assert len(gateway.log("draining")) == 1


async def test_sighup_under_load_fails_no_request_and_reaches_every_worker(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    before = workers(gateway)
    load = Load(gateway)
    for number in range(6):
        gateway.rewrite(CONFIG if number % 2 else NEW)
        gateway.send_signal(signal.SIGHUP)
        await wait_until(lambda: len(gateway.log("reloaded")) == number + 1)  # noqa: B023
        statuses = set()
        for _ in range(20):
            async with Client(gateway.port) as client:
                statuses.add((await client.ask(asking("/closed/x"))).status)
        assert statuses == ({200} if number % 2 else {403})
        await load.goes_on(50)
    await load.end()
    assert load.failed == []
    assert workers(gateway) == before


async def test_a_file_with_faults_is_refused_once(gateway: GatewayProcess) -> None:
    gateway.rewrite(CONFIG + "nonsense\n")
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: gateway.log("reload refused"))
    _, text = await asyncio.to_thread(gateway.admin, "/metrics")
    assert 'gateway_config_reloads_total{result="refused"} 1.0' in text
    gateway.rewrite(NEW)
    os.kill(workers(gateway)[0], signal.SIGKILL)
    await wait_until(lambda: gateway.log("worker started"))
    for _ in range(20):  # the new worker goes by the file that is in force, not by what lies there
        async with Client(gateway.port) as client:
            assert (await client.ask(asking("/closed/x"))).status == 200
    assert len(gateway.log("reload refused")) == 1


def counted(text: str) -> float:
    found = re.findall(r'^gateway_requests_total\{.*route="/\*\*".*\} (.+)$', text, re.M)
    return sum(map(float, found))


async def test_metrics_are_those_of_all_workers_and_never_fall(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    for _ in range(60):
        async with Client(gateway.port) as client:
            await client.ask(asking())
    assert len(by_worker(upstream)) == 2
    for _ in range(10):  # whichever worker answers
        _, text = await asyncio.to_thread(gateway.admin, "/metrics")
        assert counted(text) == 60
    assert "gateway_build_info{" in text
    assert re.search(r"^gateway_build_info\{.*\} 1\.0$", text, re.M)
    for pid in workers(gateway):
        os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: len(gateway.log("worker started")) == 2)
    _, text = await asyncio.to_thread(gateway.admin, "/metrics")
    assert counted(text) == 60
    assert "gateway_requests_in_flight 0.0" in text


async def test_metrics_come_though_a_worker_hangs(gateway: GatewayProcess) -> None:
    hanging = workers(gateway)[1]
    os.kill(hanging, signal.SIGSTOP)
    try:

        async def answers() -> bool:
            status, text = await asyncio.to_thread(gateway.admin, "/metrics")
            return status == 200 and "gateway_requests_total" in text

        await wait_until(answers, seconds=5.0)
    finally:
        os.kill(hanging, signal.SIGCONT)


async def test_a_form_of_one_worker_is_taken_by_all(gateway: GatewayProcess) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(asking("/_gateway/auth/csrf"))
    token = json.loads(answer.body)["csrfToken"]
    cookie = (answer.get("Set-Cookie") or "").partition(";")[0]
    body = f"csrfToken={token}&json=true"
    post = (
        "POST /_gateway/auth/signout HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nCookie: {cookie}\r\n\r\n{body}"
    )
    for _ in range(20):
        async with Client(gateway.port) as client:
            assert (await client.ask(post)).status == 200
            refused = post.replace(token[:8], "x" * 8, 1)
            assert (await client.ask(refused)).status == 403


async def test_a_session_that_is_revoked_is_gone_in_every_worker(gateway: GatewayProcess) -> None:
    ada = gateway.sign_in("ada")

    async def statuses() -> set[int]:
        found = set()
        for _ in range(20):
            async with Client(gateway.port) as client:
                asked = asking("/login/x", f"Cookie: {ada.cookie}", "Accept: */*")
                found.add((await client.ask(asked)).status)
        return found

    assert await statuses() == {200}
    gateway.sessions("revoke-user", "ada")

    async def gone() -> bool:
        return await statuses() == {401}

    await wait_until(gone, seconds=2.0)


async def test_a_unix_socket_is_everybodys(gateway: GatewayProcess, upstream: Upstream) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_unix_connection(gateway.folder / "public.sock")
        writer.write(asking("/x", "Connection: close").encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def test_workers_end_when_their_parent_is_gone(gateway: GatewayProcess) -> None:
    left = workers(gateway)
    gateway.kill()
    await wait_until(lambda: not listens(gateway.port), what="nobody listens")
    await wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in left))


async def test_who_does_not_end_is_ended_when_the_time_is_over(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    gateway.rewrite(CONFIG.replace("drain_timeout: 5s", "drain_timeout: 500ms"))
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: gateway.log("reloaded"))

    async def never(request: Received) -> None:
        await request.peer.until_closed()

    upstream.handler = never
    async with Client(gateway.port) as client:
        await client.send(asking())
        await wait_until(lambda: upstream.requests)
        gateway.send_signal(signal.SIGTERM)
        took = await wait_until(lambda: not gateway.running, seconds=5.0)
        assert 0.4 < took < 3.0
    assert gateway.wait() == 0


async def test_a_store_that_cannot_be_opened_ends_the_start_with_a_sentence(
    upstream: Upstream, tmp_path: Path
) -> None:
    gateway = GatewayProcess(
        tmp_path,
        CONFIG,
        UPSTREAM=upstream.url,
        SOCKET=tmp_path / "public.sock",
        REQUEST_LOG="false",
        STORE="redis://127.0.0.1:1/0",
    )
    process = await asyncio.create_subprocess_exec(
        *gateway.run_command(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=gateway.environment,
    )
    async with asyncio.timeout(10):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().splitlines()[-1].startswith("gateway run: ")
    assert b"Traceback" not in said


@pytest.mark.parametrize("workers", ["2", "auto"])
async def test_workers_cannot_share_one_process_memory(
    upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    config = CONFIG.replace("  workers: 2\n", "")
    gateway = GatewayProcess(
        tmp_path,
        config,
        UPSTREAM=upstream.url,
        SOCKET=tmp_path / "s",
        REQUEST_LOG="false",
        STORE="memory://",
    )
    process = await asyncio.create_subprocess_exec(
        *gateway.run_command(),
        "--workers",
        workers,
        stderr=asyncio.subprocess.PIPE,
        env=gateway.environment,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"--workers: memory:// is the memory of one process" in said


@pytest.mark.parametrize("request_log", ["true"])
async def test_log_lines_of_workers_do_not_mix(gateway: GatewayProcess) -> None:
    path = "/" + "x" * 2000

    async def some() -> None:
        async with Client(gateway.port) as client:
            for _ in range(20):
                assert (await client.ask(asking(path))).status == 200

    await asyncio.gather(*(some() for _ in range(20)))
    await wait_until(lambda: len(gateway.requests(path=path)) == 400)
    assert len({line["request_id"] for line in gateway.requests(path=path)}) == 400


async def test_what_each_worker_finds_out_for_itself_says_which_one_it_was(
    upstream: Upstream, tmp_path: Path
) -> None:
    config = CONFIG.replace(
        '{app: "${UPSTREAM}"}',
        '{app: {targets: ["${UPSTREAM}", "http://127.0.0.1:1"], health: {path: /healthz}}}',
    )
    environment = {"SOCKET": tmp_path / "public.sock", "REQUEST_LOG": "false"}
    with GatewayProcess(tmp_path, config, UPSTREAM=upstream.url, **environment) as gateway:
        await wait_until(lambda: len(gateway.log("target down")) == 2)
        lines = gateway.log("target down")
        assert sorted(line["worker"] for line in lines) == [0, 1]
        assert {line["target"] for line in lines} == {"http://127.0.0.1:1"}
