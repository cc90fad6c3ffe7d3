"""A scenario from beginning to end, and what was seen of it from all sides."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.faults.load import Load, Outcome, Result, User
from tests.faults.processes import UpstreamProcess
from tests.faults.scenarios import CONNECT, FIRST_BYTE, IDLE, TOTAL, Scenario
from tests.gateway_process import GatewayProcess
from tests.servers import wait_until

RATE = 200.0
"""Requests a second to the upstream with the fault."""
BESIDE = 40.0
"""Requests a second to the other upstream of the same gateway."""
RECOVERY = 1.0
"""Seconds after the end of a fault in which requests may still fail for it."""
LONGEST_EJECTION = 60.0

_CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "${STORE}"}
upstreams:
  app: {targets: [TARGETS], balance: least_requests, timeouts: {TIMEOUTS}, MORE}
  other: ${OTHER}
defaults: {access: deny, upstream: app}
routes:
  - {path: /app/**, access: login}
  - {path: /other/**, access: public, upstream: other}
"""

_DOING = re.compile(
    r"^gateway_(?:requests_in_flight|upstream_connections)(?:\{.*\})? (.+)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the gateway holds."""

    memory: int = 0
    """Bytes."""
    descriptors: int = 0


@dataclass(slots=True)
class Report:
    """What was seen. Times are of the monotonic clock, durations in seconds."""

    scenario: Scenario
    results: list[Result] = field(default_factory=list)
    beside: list[Result] = field(default_factory=list)
    """Requests to the other upstream."""
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What the targets saw, by method and nonce."""
    log: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Status and reason in the request log, by nonce."""
    faulty: str = ""
    """The target with the fault."""
    ejected: set[str] = field(default_factory=set)
    began: float = 0.0
    ended: float = 0.0
    """When the fault was over."""
    stall: float = 0.0
    """By how much a request was sent too late, at most."""
    returned_after: float = 0.0
    """Until the target with the fault got requests again."""
    before: Holding = Holding()
    peak: Holding = Holding()
    """At most, while the load was on."""
    after: Holding = Holding()

    @property
    def during(self) -> list[Result]:
        return [result for result in self.results if self.began <= result.due < self.ended]

    @property
    def recovered_after(self) -> float:
        """From the end of the fault to the last request that was due and then failed."""
        failed = [r.due for r in self.results if r.outcome is not Outcome.WHOLE]
        return max(0.0, max(failed, default=0.0) - self.ended)

    @property
    def starved(self) -> bool:
        """Whether the machine was so busy that even a healthy upstream may have been too slow."""
        return self.stall > FIRST_BYTE / 2

    def count(self) -> Counter[str]:
        """Count the requests by how they ended."""
        return Counter(result.label for result in self.results)

    def line(self) -> str:
        """Return what to tell of it."""
        mib, count = 1 << 20, self.count()
        ends = ", ".join(f"{number} {label}" for label, number in sorted(count.items()))
        slowest = max(result.took for result in self.results)
        beside = max(result.took for result in self.beside)
        repeated = sum(times - 1 for times in self.seen.values())
        held = "/".join(f"{h.memory / mib:.1f}" for h in (self.before, self.peak, self.after))
        files = "/".join(str(h.descriptors) for h in (self.before, self.peak, self.after))
        return (
            f"{self.scenario!s:<27} {len(self.results)} requests, up to {self.stall * 1000:.0f} ms "
            f"late: {ends}; repeated {repeated}; slowest {slowest:.2f} s, of {len(self.beside)} "
            f"beside {beside * 1000:.0f} ms; failures end after {self.recovered_after:.2f} s, the "
            f"target is back after {self.returned_after:.1f} s; memory {held} MiB; "
            f"descriptors {files}"
        )


async def run(
    scenario: Scenario, folder: Path, seconds: float, *, store: str, users: Sequence[User]
) -> Report:
    """Let the fault befall one target for so long, under load before, during and after."""
    folder.mkdir()
    async with AsyncExitStack() as stack:
        targets, other = [], UpstreamProcess(folder, "other")
        for name in "abc"[: scenario.targets]:
            targets.append(await stack.enter_async_context(UpstreamProcess(folder, name)))
        await stack.enter_async_context(other)
        gateway = GatewayProcess(folder, _config(scenario, targets), OTHER=other.url, STORE=store)
        await asyncio.to_thread(gateway.start)
        try:
            report = await _under_load(scenario, gateway, targets, other, users, seconds)
            assert await asyncio.to_thread(gateway.stop) == 0
            # Elsewhere, since the loads of other scenarios are on.
            await asyncio.to_thread(gateway.assert_no_traceback)
            await asyncio.to_thread(_read_log, report, gateway)
        finally:
            if gateway.running:
                gateway.kill()
        return report


def _config(scenario: Scenario, targets: Sequence[UpstreamProcess]) -> str:
    timeouts = f"connect: {CONNECT}, first_byte: {FIRST_BYTE}, idle: {IDLE}"
    config = _CONFIG.replace("TARGETS", ", ".join(target.url for target in targets))
    config = config.replace("TIMEOUTS", timeouts + f", total: {TOTAL}" * scenario.total)
    return config.replace("MORE", scenario.settings)


async def _under_load(
    scenario: Scenario,
    gateway: GatewayProcess,
    targets: Sequence[UpstreamProcess],
    other: UpstreamProcess,
    users: Sequence[User],
    seconds: float,
) -> Report:
    faulty = targets[0]
    report = Report(scenario, faulty=faulty.url)

    first = Load(gateway.port, "/app", "first", rate=RATE, users=users)
    first_beside = Load(gateway.port, "/other", "first-other", rate=BESIDE)
    await wait_until(lambda: first.answered >= 1.5 * RATE, seconds=15.0, what="it is warm")
    await first.end()
    await first_beside.end()
    report.before = await _at_rest(gateway, [*targets, other])

    gateway.forget_peak()
    files: list[int] = []
    watch = asyncio.ensure_future(_watch(gateway, files))
    load = Load(gateway.port, "/app", "app", rate=RATE, users=users)
    beside = Load(gateway.port, "/other", "other", rate=BESIDE)
    await wait_until(lambda: load.answered >= RATE / 2, what="requests are answered")
    report.began = monotonic()
    await scenario.befall(faulty, seconds)
    report.ended = monotonic()

    fresh = len(load.results)

    def returned() -> bool:
        return any(int(nonce.rpartition("-")[2]) >= fresh for nonce in faulty.last_seen())

    # An ejection may have begun at the last moment, after many others.
    report.returned_after = await wait_until(
        returned, seconds=LONGEST_EJECTION + 10.0, what="the target gets requests again"
    )
    since = report.ended + RECOVERY
    await wait_until(lambda: load.sent_after(since) >= RATE, seconds=10.0)
    report.results, report.beside = await load.end(), await beside.end()
    report.stall = load.stall
    watch.cancel()
    report.peak = Holding(gateway.peak_memory(), max(files))
    report.after = await _at_rest(gateway, [*targets, other])

    for target in targets:
        report.seen += target.seen()
    return report


def _read_log(report: Report, gateway: GatewayProcess) -> None:
    for line in gateway.log("request"):
        nonce = str(line["path"]).rpartition("/")[2]
        report.log.setdefault(nonce, []).append((line["status"], line["reason"]))
    report.ejected = {line["target"] for line in gateway.log("target ejected")}


async def _watch(gateway: GatewayProcess, files: list[int]) -> None:
    while True:
        files.append(_descriptors(gateway))
        await asyncio.sleep(0.05)


def _descriptors(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


async def _at_rest(gateway: GatewayProcess, upstreams: Sequence[UpstreamProcess]) -> Holding:
    """Return what the gateway holds when it has nothing to do and no connections are left."""
    for upstream in upstreams:
        upstream.become("rest")

    async def quiet() -> bool:
        _, text = await asyncio.to_thread(gateway.admin, "/metrics")
        numbers = _DOING.findall(text)
        return len(numbers) > 1 and not any(map(float, numbers))

    await wait_until(quiet, seconds=10.0, what="the gateway has nothing to do")
    looks: list[int] = []

    def settled() -> bool:
        looks.append(_descriptors(gateway))
        return len(looks) >= 20 and len(set(looks[-20:])) == 1

    await wait_until(settled, what="it opens and closes nothing")
    return Holding(gateway.memory(), looks[-1])
