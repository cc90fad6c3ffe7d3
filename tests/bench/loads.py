"""What is done to a proxy, and the figures that come of it.

CPU is that of the proxy's processes, divided by what it answered; load generators and upstream are
not counted.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.bench.measure import Proxy, Running, Unusable, program

RATE = 2000
"""Requests a second while latency is measured."""
_RATE_CLIENTS = 40
UPDATE_AGE = 1
"""Seconds between two touches of a session, at least, where they are counted."""
_TOUCHING = 4
_EACH_SECOND = 16_000
"""Newcomers: more than a gateway answers here; where there are too few, it is over early."""
_SETTLING = 1.0  # seconds after the last answer: what is let go by then does not count as kept
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of it."""

    connections: int
    seconds: float
    warm_up: float


Measure = Callable[[Running, Effort], tuple[float, ...]]
Send = Callable[[Proxy, int, float], int]
"""Loads a proxy over so many connections for so many seconds; returns how often it answered."""


def cpu(send: Send, *, connections: int | None = None) -> Measure:
    """Measure the CPU microseconds that one answer takes the proxy."""

    def measure(running: Running, effort: Effort) -> tuple[float, ...]:
        number = connections or effort.connections
        send(running.proxy, number, effort.warm_up)
        before = running.cpu_seconds()
        answered = send(running.proxy, number, effort.seconds)
        return ((running.cpu_seconds() - before) / answered * 1e6,)

    return measure


_EVERYBODY = """
local cookies, requests, at = {%s}, {}, 0
function init()
    for number, cookie in ipairs(cookies) do
        wrk.headers["Cookie"] = cookie
        requests[number] = wrk.format()
    end
end
function request()
    at = at %% #requests + 1
    return requests[at]
end
"""


_NEWCOMERS = """
local cookies, before, after, cookie = io.lines("%s")
function init()
    wrk.headers["Cookie"] = "@"
    before, after = wrk.format():match("^(.*Cookie: )@(.*)$")
end
function request()
    local following = cookies and cookies()
    if following then
        cookie = following
    else
        cookies = nil
        wrk.thread:stop()
    end
    return before .. cookie .. after
end
"""


def requests(
    path: str = "", *, fields: tuple[str, ...] = (), upload: int = 0, everybody: bool = False
) -> Send:
    """Ask over and over with wrk.

    Args:
        path: What follows the proxy's usual URL.
        upload: Bytes of the body to send; 0: a GET.
        everybody: All who have signed in ask, one after the other; or somebody new each time,
            where the proxy is to be asked so.
    """

    def send(proxy: Proxy, connections: int, seconds: float) -> int:
        command = [program("wrk", "apt-get install wrk"), "-t1", f"-c{connections}"]
        command += [f"-d{math.ceil(seconds)}s", "--timeout", "5s"]
        for field in (*_fields(proxy), *fields):
            command += ["-H", field]
        if upload:
            script = proxy.folder / "upload.lua"
            script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {upload})\n')
            command += ["-s", str(script)]
        if everybody and proxy.first_seen:
            command += ["-s", str(_newcomers(proxy, seconds))]
        elif everybody and proxy.cookies:
            script = proxy.folder / "everybody.lua"
            script.write_text(_EVERYBODY % ", ".join(f'"{cookie}"' for cookie in proxy.cookies))
            command += ["-s", str(script)]
        # It takes whole seconds; interrupted, it says what there was until then.
        return answered(_output([*command, proxy.url + path], seconds if seconds % 1 else None))

    return send


def _newcomers(proxy: Proxy, seconds: float) -> Path:
    """Write a script that takes cookies from a file: as many in the script are too many for it."""
    assert proxy.visitors is not None
    cookies, script = proxy.folder / "newcomers", proxy.folder / "newcomers.lua"
    cookies.write_text("\n".join(islice(proxy.visitors, int(_EACH_SECOND * seconds))))
    script.write_text(_NEWCOMERS % cookies)
    return script


def authenticated(connections: int) -> Measure:
    """Measure what one answer to somebody who has signed in takes the proxy and its store.

    CPU microseconds of the proxy's processes, of the store's, and commands to the store.
    """
    send = requests(everybody=True)

    def measure(running: Running, effort: Effort) -> tuple[float, ...]:
        store = running.proxy.store
        send(running.proxy, connections, effort.warm_up)
        commands = store.commands() if store else 0
        before = running.cpu_seconds(), store.cpu_seconds() if store else math.nan
        answered = send(running.proxy, connections, effort.seconds)
        after = running.cpu_seconds(), store.cpu_seconds() if store else math.nan
        return (
            (after[0] - before[0]) / answered * 1e6,
            (after[1] - before[1]) / answered * 1e6,
            (store.commands() - commands) / answered if store else math.nan,
        )

    return measure


def touches(running: Running, effort: Effort) -> tuple[float, ...]:
    """Measure how often a minute the expiry of one busy session is moved, and requests for each.

    The first request after ``UPDATE_AGE`` moves it. What is counted begins and ends half way
    between two moves, so that neither end counts one too many.
    """
    store = running.proxy.store
    assert store is not None
    seconds = max(effort.seconds, _TOUCHING)
    time.sleep(UPDATE_AGE + 0.1)
    with ThreadPoolExecutor(1) as beside:
        load = beside.submit(requests(), running.proxy, effort.connections, seconds + UPDATE_AGE)
        time.sleep(UPDATE_AGE / 2)
        before, began = store.touches(), time.monotonic()
        time.sleep(seconds - (time.monotonic() - began))
        moved = store.touches() - before
        each_second = load.result() / (seconds + UPDATE_AGE)
    if not moved:
        raise Unusable("no expiry was moved")
    return moved / seconds * 60, each_second * seconds / moved


def messages(proxy: Proxy, connections: int, seconds: float) -> int:
    """Send WebSocket messages, each after the echo of the one before."""
    command = [sys.executable, str(_HERE / "echo.py"), "talk", f"{proxy.url}/socket"]
    count = int(_output([*command, str(connections), str(seconds), *_fields(proxy)]))
    if not count:
        raise Unusable("no message came back")
    return count


def idle(count: int) -> Measure:
    """Measure the MiB that a thousand connections take which have asked once and are silent.

    Some are there before, so that what a proxy makes once does not count; load is not, for what
    it leaves behind would be used again.
    """

    def measure(running: Running, effort: Effort) -> tuple[float, ...]:
        with _silent(running.proxy, effort.connections):
            before = running.memory()
            with _silent(running.proxy, count):
                grown = running.memory() - before
        return (grown / count * 1000 / 2**20,)

    return measure


@contextmanager
def _silent(proxy: Proxy, count: int) -> Iterator[None]:
    """Keep so many connections open that have asked once."""
    command = [sys.executable, str(_HERE / "idle.py"), proxy.url, str(count), *_fields(proxy)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as clients:
        assert clients.stdout is not None
        assert clients.stderr is not None
        if clients.stdout.readline() != b"ready\n":
            raise Unusable(clients.stderr.read().decode(errors="replace").strip()[-500:])
        time.sleep(_SETTLING)
        try:
            yield
        finally:
            clients.terminate()


def latency(running: Running, effort: Effort) -> tuple[float, ...]:
    """Measure median and 99th percentile of the microseconds to an answer, at a fixed rate.

    The rate does not wait for answers. Each of h2load's clients asks once in 20 ms, and one begins
    each millisecond: begun together they would ask together, and the figures would be those of
    bursts of 40.
    """
    _at_rate(running.proxy, effort.warm_up)
    return percentiles(_at_rate(running.proxy, effort.seconds), 0.5, 0.99)


def _at_rate(proxy: Proxy, seconds: float) -> list[int]:
    log = proxy.folder / "latencies"
    log.unlink(missing_ok=True)  # h2load would add to it
    total = int(RATE * seconds)
    command = [program("h2load", "apt-get install nghttp2-client"), "--h1", f"-n{total}"]
    command += [f"-c{_RATE_CLIENTS}", "-r1", "--rate-period=1ms", f"--log-file={log}"]
    command += [f"--rps={RATE // _RATE_CLIENTS}"]
    for field in _fields(proxy):
        command += ["-H", field]
    _output([*command, proxy.url])
    return durations(log.read_text(), total)


def answered(report: str) -> int:
    """Return how many answers wrk got. Unusable when any was not right."""
    if trouble := re.search(r"Socket errors:.*|Non-2xx or 3xx responses:.*", report):
        raise Unusable(trouble[0])
    found = re.search(r"(\d+) requests in", report)
    if found is None or found[1] == "0":
        raise Unusable("wrk got no answer")
    return int(found[1])


def durations(log: str, total: int) -> list[int]:
    """Return the microseconds in h2load's log. Unusable when not all requests got their 200."""
    rows = [line.split("\t") for line in log.splitlines()]
    taken = [int(row[2]) for row in rows if row[1] == "200"]
    if len(taken) != total:
        raise Unusable(f"{len(taken)} of {total} requests were answered with 200")
    return taken


def percentiles(values: list[int], *ranks: float) -> tuple[float, ...]:
    """Return the smallest values that these shares of all values do not exceed."""
    ordered = sorted(values)
    return tuple(float(ordered[max(0, -int(-rank * len(ordered) // 1) - 1)]) for rank in ranks)


def _fields(proxy: Proxy) -> list[str]:
    return [f"{name}: {value}" for name, value in proxy.headers.items()]


def _output(command: list[str], interrupted_after: float | None = None) -> str:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            out, err = process.communicate(timeout=interrupted_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    if process.returncode != 0:
        raise Unusable(f"{Path(command[0]).name}: {(err or out).strip()[-500:]}")
    return out
