"""Header sections that are known, and the request lines that are read without the parser."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ClientError
from gateway.rules import targets
from gateway.server.fields import LARGEST, MAX_LINE, Fields, KnownFields, read_line

SECTION = b"\r\nHost: localhost\r\n\r\n"


class Reading(BaseProtocol):
    """As much of a protocol as the parser needs."""


def parsed(data: bytes) -> tuple[RawRequestMessage, StreamReader]:
    """Return the one request that aiohttp's parser finds."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(Reading(loop), loop, 2**16, max_line_size=MAX_LINE)
        messages, _, _ = parser.feed_data(data)
    finally:
        loop.close()
    ((message, body),) = messages
    return message, body


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"GET /x HTTP/1.1", ("GET", "/x"), id="GET"),
        pytest.param(b"HEAD /x?y=1 HTTP/1.1", ("HEAD", "/x?y=1"), id="HEAD with a query"),
        pytest.param(b"GET http://localhost/x HTTP/1.1", ("GET", "http://localhost/x"), id="URL"),
        pytest.param(b"GET * HTTP/1.1", ("GET", "*"), id="asterisk: the target's own rule refuses"),
        pytest.param(b"POST /x HTTP/1.1", None, id="another method"),
        pytest.param(b"get /x HTTP/1.1", None, id="lower case"),
        pytest.param(b"GETX /x HTTP/1.1", None, id="a longer method"),
        pytest.param(b"GET /x HTTP/1.0", None, id="HTTP/1.0"),
        pytest.param(b"GET /x http/1.1", None, id="lower-case version"),
        pytest.param(b"GET /x", None, id="no version"),
        pytest.param(b"GET  /x HTTP/1.1", None, id="two spaces in front"),
        pytest.param(b"GET /x  HTTP/1.1", None, id="two spaces behind"),
        pytest.param(b"GET /x y HTTP/1.1", None, id="a space within"),
        pytest.param(b"GET\t/x HTTP/1.1", None, id="tab"),
        pytest.param(b"GET /\xc3\xa4 HTTP/1.1", None, id="bytes outside ASCII"),
        pytest.param(b" GET /x HTTP/1.1", None, id="a space before all"),
        pytest.param(b"GET HTTP/1.1", ("GET", ""), id="no target: its rule refuses, too"),
        pytest.param(b"GET /" + b"x" * MAX_LINE + b" HTTP/1.1", None, id="too long"),
    ],
)
def test_what_is_unusual_is_left_to_the_parser(
    line: bytes, expected: tuple[str, str] | None
) -> None:
    assert read_line(line + SECTION, len(line)) == expected


@given(st.binary(max_size=40), st.sampled_from([b"GET ", b"HEAD ", b"GET /", b"HEAD /"]))
def test_what_is_read_here_the_parser_would_have_read_alike_or_nobody_takes(
    rest: bytes, method: bytes
) -> None:
    line = method + rest + b" HTTP/1.1"
    end = (line + SECTION).find(b"\r\n")
    read = read_line(line + SECTION, end)
    if read is None:
        return
    try:
        message, body = parsed(line[:end] + SECTION)
    except (HttpProcessingError, ValueError):
        with pytest.raises(ClientError):
            targets.read_target(read[1], "localhost", read[0])
        return
    assert (message.method, message.path) == read
    assert body is EMPTY_PAYLOAD


# --- what is known ---------------------------------------------------------------------------


def kept(data: bytes, *, origin: str = "here") -> KnownFields:
    known = KnownFields()
    message, body = parsed(data)
    known.keep(origin, data, Fields(message), body)
    return known


def test_a_section_is_found_by_its_bytes_and_whose_connection_it_is() -> None:
    known = kept(b"GET /x HTTP/1.1" + SECTION)
    found = known.find("here", SECTION)
    assert found is not None
    assert found.headers["Host"] == "localhost"
    assert known.find("elsewhere", SECTION) is None
    assert known.find("here", SECTION.replace(b"Host", b"host")) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"POST /x HTTP/1.1" + SECTION, id="another method"),
        pytest.param(b"GET /x HTTP/1.0" + SECTION, id="HTTP/1.0"),
        pytest.param(
            b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", id="a body is to come"
        ),
        pytest.param(
            b"GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunks"
        ),
        pytest.param(
            b"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            id="upgrade",
        ),
        pytest.param(
            b"GET /x HTTP/1.1\r\nHost: a" + 3 * (b"\r\nX: " + b"x" * 6000) + b"\r\n\r\n",
            id="too large",
        ),
        pytest.param(b"\r\n\r\nGET /x HTTP/1.1" + SECTION, id="empty lines in front"),
    ],
)
def test_what_does_not_mean_the_same_in_every_request_is_not_kept(data: bytes) -> None:
    known = kept(data)
    assert known.find("here", data[data.find(b"\r\n") :]) is None
    assert known.find("here", data[data.find(b"HTTP/1.1") + 8 :]) is None


def section(number: int) -> bytes:
    return b"\r\nHost: localhost\r\nX-Number: %d%b\r\n\r\n" % (number, b"x" * (LARGEST // 4))


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    known = KnownFields()
    message, body = parsed(b"GET / HTTP/1.1" + SECTION)
    for number in range(2000):  # of 4 KiB: some generations
        known.keep("here", b"GET / HTTP/1.1" + section(number), Fields(message), body)
        assert known.find("here", section(0)) is not None
    assert known.find("here", section(1)) is None


def test_nothing_is_left_after_a_reload() -> None:
    known = kept(b"GET /x HTTP/1.1" + SECTION)
    known.clear()
    assert known.find("here", SECTION) is None
