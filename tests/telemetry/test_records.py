"""The request log: one line a request, complete, prompt, and without secrets."""

from __future__ import annotations

import asyncio
import json
import os
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Reason
from gateway.model import SessionId
from gateway.telemetry.lines import PIECE, LineWriter
from gateway.telemetry.records import RequestLog, fingerprint

REQUIRED: dict[str, Any] = {
    "now": 1_700_000_000.0417,
    "request_id": "r1",
    "method": "GET",
    "host": "app.example.com",
    "path": "/app/home",
    "route": "/app/**",
    "status": 200,
    "reason": Reason.OK,
    "seconds": 0.012345,
}


class Pipe:
    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        os.set_blocking(self.reader, False)
        self.writer = LineWriter(self.fd)

    def lines(self) -> list[bytes]:
        got = b""
        try:
            while more := os.read(self.reader, 65536):
                got += more
        except BlockingIOError:
            pass
        return got.split(b"\n")[:-1]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.writer.close(timeout=0)
    os.close(pipe.reader)
    os.close(pipe.fd)


async def test_a_line_holds_what_happened(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    log.write(
        **REQUIRED,
        client="192.0.2.7",
        user="alice",
        session=fingerprint(SessionId("public")),
        upstream="app",
        bytes_in=3,
        bytes_out=100,
    )
    log.close()
    assert pipe.events() == [
        {
            "ts": "2023-11-14T22:13:20.041Z",
            "request_id": "r1",
            "method": "GET",
            "host": "app.example.com",
            "path": "/app/home",
            "route": "/app/**",
            "status": 200,
            "reason": "ok",
            "ms": 12.34,
            "event": "request",
            "client": "192.0.2.7",
            "user": "alice",
            "session": "efa1f375d761",
            "upstream": "app",
            "bytes_in": 3,
            "bytes_out": 100,
        }
    ]


async def test_what_there_is_not_is_left_out(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    log.write(**REQUIRED)
    log.close()
    [event] = pipe.events()
    assert {"user", "session", "upstream", "client", "bytes_in", "bytes_out"}.isdisjoint(event)


@pytest.mark.parametrize("now", [0.0, 1.9999, 951_782_399.9999, 1_709_210_096.5, 4_102_444_800.0])
async def test_times_are_iso_8601_in_utc(pipe: Pipe, now: float) -> None:
    log = RequestLog(pipe.writer)
    log.write(**{**REQUIRED, "now": 1.0})  # the second before must not stay
    log.write(**{**REQUIRED, "now": now})
    log.close()
    ts = datetime.fromisoformat(pipe.events()[1]["ts"])
    assert ts.tzinfo == UTC
    assert abs(ts.timestamp() - now) <= 0.0011


def test_a_fingerprint_is_short_and_gives_the_id_away_to_nobody() -> None:
    one, other = fingerprint(SessionId("one")), fingerprint(SessionId("other"))
    assert one != other
    assert len(one) == 12
    assert set(one) <= set(string.hexdigits.lower())


async def test_a_line_is_written_within_a_tenth_of_a_second(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    log.write(**REQUIRED)
    assert pipe.lines() == []
    async with asyncio.timeout(5):
        await readable(pipe.reader)
    assert len(pipe.lines()) == 1
    log.close()


async def test_a_full_buffer_does_not_wait(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    for _ in range(400):  # about 200 bytes each
        log.write(**REQUIRED)
    assert len(pipe.lines()) > 300
    log.close()
    assert len(pipe.lines()) > 0


async def test_lines_that_a_stalled_reader_did_not_take_follow_by_themselves(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    for _ in range(2000):
        log.write(**REQUIRED)
    log.flush()
    assert pipe.writer.waiting > 0
    lines = 0
    async with asyncio.timeout(5):
        while lines < 2000:
            await readable(pipe.reader)
            lines += len(pipe.lines())
    assert lines == 2000
    log.close()


async def test_a_reader_that_left_does_not_stop_the_gateway(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    gone = os.dup(pipe.reader)
    os.close(pipe.reader)
    os.close(gone)
    pipe.reader, spare = os.pipe()  # so that the fixture has something to close
    os.close(spare)
    for _ in range(1000):
        log.write(**REQUIRED)
    log.close()
    assert pipe.writer.dropped > 0


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(st.characters(), max_size=50), host=st.text(st.characters(), max_size=20))
async def test_any_path_and_host_is_valid_json_on_one_line(
    pipe: Pipe, path: str, host: str
) -> None:
    log = RequestLog(pipe.writer)
    log.write(**{**REQUIRED, "path": path, "host": host})
    log.write(**{**REQUIRED, "path": "/after", "host": "h"})
    log.close()
    first, second = pipe.events()
    if path.isprintable():
        assert first["path"] == path
    assert second["path"] == "/after"


@pytest.mark.parametrize(
    ("path", "written"),
    [
        pytest.param("/a\nb", "/a\nb", id="line feed"),
        pytest.param("/\x00\x1b", "/\x00\x1b", id="control characters"),
        pytest.param("/\udcff", "/\\udcff", id="not UTF-8"),
    ],
)
async def test_odd_bytes_are_escaped(pipe: Pipe, path: str, written: str) -> None:
    log = RequestLog(pipe.writer)
    log.write(**{**REQUIRED, "path": path})
    log.close()
    [event] = pipe.events()
    assert event["path"] == written
    assert event["reason"] == "ok"


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_reader(fd, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(fd)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/" + "x" * 16_000, id="long"),
        pytest.param("/" + "\x01" * 16_000, id="long when escaped"),
        pytest.param("/" + "\udcff" * 16_000, id="no UTF-8"),
        pytest.param("/" + "ž" * 16_000, id="two bytes a character"),
    ],
)
async def test_a_line_fits_into_one_piece_whatever_a_client_sends(pipe: Pipe, path: str) -> None:
    log = RequestLog(pipe.writer)
    log.write(**REQUIRED | {"path": path, "host": "h" * 9000, "user": path})
    log.write(**REQUIRED)
    log.close()
    first, second = pipe.lines()
    assert len(first) < PIECE
    event = json.loads(first)
    assert event["path"].startswith("/")
    assert event["path"].endswith("…")
    assert (event["status"], event["route"]) == (200, "/app/**")
    assert json.loads(second)["path"] == "/app/home"


async def test_what_fits_is_not_cut(pipe: Pipe) -> None:
    log = RequestLog(pipe.writer)
    path = "/" + "x" * 3000
    log.write(**REQUIRED | {"path": path})
    log.close()
    assert [event["path"] for event in pipe.events()] == [path]
