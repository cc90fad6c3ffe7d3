"""Events and faults become one JSON object a line, without what must stay secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import InvalidHeader

from gateway.telemetry import logs

Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    """Configure logging to a file; calling the value returns what is in it."""
    file = tmp_path / "log"
    root = logging.getLogger()
    handlers = root.handlers[:]
    with file.open("wb") as stream:
        writer = logs.configure(stream)
        yield lambda: [json.loads(line) for line in file.read_bytes().splitlines()]
        writer.close()
    structlog.reset_defaults()
    root.handlers[:] = handlers


def test_an_event_is_one_object(events: Events) -> None:
    structlog.get_logger().info("listening", address="127.0.0.1:8080", routes=50)
    [event] = events()
    assert list(event) == ["ts", "level", "event", "address", "routes"]
    assert event["level"] == "info"
    assert event["ts"].endswith("Z")
    assert event["routes"] == 50


def test_debug_is_not_written(events: Events) -> None:
    structlog.get_logger().debug("noise")
    assert events() == []


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\x00\x1b[31m", "\udcff", "ü\u2028", '"quoted"'],
    ids=["line feed", "control", "no UTF-8", "separator", "quotes"],
)
def test_any_text_stays_on_its_line(events: Events, text: str) -> None:
    structlog.get_logger().warning("odd", value=text, nested={text: [text]})
    [event] = events()
    expected = text.replace("\udcff", "\\udcff")
    assert event["value"] == expected
    assert event["nested"] == {expected: [expected]}


class Secret:
    def __repr__(self) -> str:
        return "hunter2"

    __str__ = __repr__


def test_an_object_of_unknown_type_does_not_show_itself(events: Events) -> None:
    structlog.get_logger().info("odd", value=Secret(), also=[Secret()])
    [event] = events()
    assert event["value"] == "<Secret>"
    assert "hunter2" not in json.dumps(event)


def fail(password: str) -> None:
    try:
        int(password and "twelve")
    except ValueError as error:
        raise RuntimeError("no number") from error


def test_a_traceback_says_where_and_shows_no_variables(events: Events) -> None:
    try:
        fail("hunter2")
    except RuntimeError:
        structlog.get_logger().exception("bug")
    [event] = events()
    outer, cause = event["exception"]
    assert (outer["type"], outer["message"]) == ("builtins.RuntimeError", "no number")
    assert outer["at"][-1].endswith(" fail")
    assert cause["type"] == "builtins.ValueError"
    assert "hunter2" not in json.dumps(event)


def test_a_parser_error_does_not_quote_the_request(events: Events) -> None:
    try:
        raise InvalidHeader(b"Cookie: gateway_session=hunter2")
    except InvalidHeader as error:
        logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    [event] = events()
    assert event["exception"][0]["type"] == "aiohttp.http_exceptions.InvalidHeader"
    assert "hunter2" not in json.dumps(event)


def test_the_standard_library_s_loggers_join_in(events: Events) -> None:
    logging.getLogger("asyncio").error("Task %s was destroyed", "t1")
    logging.getLogger("asyncio").info("Using selector")
    [event] = events()
    assert (event["event"], event["logger"], event["level"]) == (
        "Task t1 was destroyed",
        "asyncio",
        "error",
    )


def test_a_second_configuration_takes_over(tmp_path: Path, events: Events) -> None:
    with (tmp_path / "other").open("wb") as stream:
        writer = logs.configure(stream)
        logging.getLogger("asyncio").error("once")
        writer.close()
    assert events() == []
    assert len((tmp_path / "other").read_bytes().splitlines()) == 1


def test_a_closed_writer_swallows_what_comes_late(tmp_path: Path, events: Events) -> None:
    with (tmp_path / "other").open("wb") as stream:
        logs.configure(stream).close()
        structlog.get_logger().info("late")
    assert (tmp_path / "other").read_bytes() == b""
