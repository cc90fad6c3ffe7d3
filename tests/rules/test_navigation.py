from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.navigation import is_navigation

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("mode", "dest", "expected"),
    [
        pytest.param("navigate", "document", True, id="a click"),
        pytest.param("navigate", "iframe", True, id="a frame"),
        pytest.param("navigate", "empty", True, id="navigation decides"),
        pytest.param("navigate", None, True, id="mode alone"),
        pytest.param(None, "document", True, id="destination alone"),
        pytest.param(None, "iframe", True, id="frame alone"),
        pytest.param(None, "frame", True, id="old frame alone"),
        pytest.param("cors", "empty", False, id="fetch"),
        pytest.param("same-origin", "empty", False, id="fetch of the same origin"),
        pytest.param("no-cors", "image", False, id="image"),
        pytest.param("no-cors", "script", False, id="script"),
        pytest.param("websocket", "websocket", False, id="WebSocket"),
        pytest.param("websocket", None, False, id="WebSocket, mode alone"),
        pytest.param(None, "empty", False, id="empty destination alone"),
        pytest.param("NAVIGATE", None, False, id="tokens have a case"),
        pytest.param("navigate, cors", None, False, id="two values are neither"),
        pytest.param("nonsense", "nonsense", False, id="unknown"),
    ],
)
@pytest.mark.parametrize("requested_with", [None, "XMLHttpRequest"])
@pytest.mark.parametrize("accept", [None, "*/*", CHROME])
def test_what_the_browser_says_decides(
    mode: str | None,
    dest: str | None,
    requested_with: str | None,
    accept: str | None,
    expected: bool,
) -> None:
    assert (
        is_navigation(
            "GET",
            fetch_mode=mode,
            fetch_dest=dest,
            requested_with=requested_with,
            accept=accept,
        )
        is expected
    )


@pytest.mark.parametrize(
    ("requested_with", "expected"),
    [
        pytest.param("XMLHttpRequest", False, id="jQuery"),
        pytest.param("xmlhttprequest", False, id="any case"),
        pytest.param(" XMLHttpRequest ", False, id="blanks"),
        pytest.param("com.example.browser", True, id="Android's web view names its application"),
        pytest.param("", True, id="empty"),
        pytest.param(None, True, id="absent"),
    ],
)
@pytest.mark.parametrize("fetch", [None, ""])
def test_then_the_library_says(
    requested_with: str | None, fetch: str | None, expected: bool
) -> None:
    found = is_navigation(
        "GET", fetch_mode=fetch, fetch_dest=fetch, requested_with=requested_with, accept=CHROME
    )
    assert found is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(CHROME, True, id="browser"),
        pytest.param("text/html", True, id="HTML"),
        pytest.param("TEXT/HTML", True, id="any case"),
        pytest.param("application/xhtml+xml", True, id="XHTML"),
        pytest.param("application/json, text/html;q=0.1", True, id="HTML last"),
        pytest.param("text/html;level=1", True, id="another parameter"),
        pytest.param("text/html ; charset=utf-8 ; Q=0.5", True, id="blanks, upper-case weight"),
        pytest.param("text/html;q=1", True, id="whole weight"),
        pytest.param("text/html;q=1.000", True, id="whole weight, long"),
        pytest.param("text/html;q=0.001", True, id="the least weight"),
        pytest.param("text/html;q=0, application/xhtml+xml", True, id="one of both"),
        pytest.param("text/html;q=0", False, id="HTML refused"),
        pytest.param("text/html;q=0.", False, id="HTML refused, dot"),
        pytest.param("text/html;q=0.000", False, id="HTML refused, long"),
        pytest.param("application/json, text/html;q=0.0", False, id="HTML refused beside JSON"),
        pytest.param("text/html;q=", False, id="no weight"),
        pytest.param("text/html;q=high", False, id="nonsense weight"),
        pytest.param("text/html;q=2", False, id="weight beyond 1"),
        pytest.param("text/html;q=-1", False, id="negative weight"),
        pytest.param("*/*", False, id="anything"),
        pytest.param("text/*", False, id="any text"),
        pytest.param("application/json", False, id="JSON"),
        pytest.param("application/json, */*", False, id="JSON or anything"),
        pytest.param("text/event-stream", False, id="event stream"),
        pytest.param("text/htmlx", False, id="a longer name"),
        pytest.param('application/x;p="text/html"', False, id="inside a parameter"),
        pytest.param("", False, id="empty"),
        pytest.param(",,;", False, id="noise"),
        pytest.param(None, False, id="absent"),
    ],
)
def test_then_what_is_accepted(accept: str | None, expected: bool) -> None:
    found = is_navigation(
        "GET", fetch_mode=None, fetch_dest=None, requested_with=None, accept=accept
    )
    assert found is expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [("GET", True), ("HEAD", True), ("POST", True), ("DELETE", True), ("OPTIONS", False)],
)
def test_only_to_options_nobody_reads_the_answer(method: str, expected: bool) -> None:
    found = is_navigation(
        method, fetch_mode=None, fetch_dest=None, requested_with=None, accept=CHROME
    )
    assert found is expected


@given(st.text(), *[st.none() | st.text("hmltx/,;q=01. ") | st.text()] * 4)
def test_hostile_text_raises_nothing(
    method: str,
    mode: str | None,
    dest: str | None,
    requested_with: str | None,
    accept: str | None,
) -> None:
    found = is_navigation(
        method, fetch_mode=mode, fetch_dest=dest, requested_with=requested_with, accept=accept
    )
    assert found in {True, False}
