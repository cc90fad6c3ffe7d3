"""A flood of connections is counted to the last one, and told in few lines."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.server.turned_away import TurnedAway, Why


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


class Timers:
    """An event loop's timers, which run when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_later(self, seconds: float, call: Any, *args: Any) -> None:
        self.due.append((seconds, call, args))

    def run(self) -> None:
        due, self.due = self.due, []
        for _, call, args in due:
            call(*args)


@pytest.fixture
def timers() -> Timers:
    return Timers()


def test_the_first_is_told_at_once_and_the_others_together(timers: Timers) -> None:
    log = Log()
    turned_away = TurnedAway(log, timers.call_later)
    for number in range(1000):
        turned_away.add(Why.CONNECTIONS, peer=f"192.0.2.{number % 200}")
    assert log.lines == [("too many connections", {"count": 1, "peer": "192.0.2.0"})]
    assert [seconds for seconds, _, _ in timers.due] == [5.0]
    timers.run()
    assert log.lines[1:] == [("too many connections", {"count": 999, "peer": "192.0.2.199"})]
    timers.run()
    assert (len(log.lines), timers.due) == (2, [])  # nothing more came
    turned_away.add(Why.CONNECTIONS, peer="192.0.2.1")
    assert len(log.lines) == 3
    assert turned_away.counts["connections"] == 1001


def test_one_reason_does_not_silence_another(timers: Timers) -> None:
    log = Log()
    turned_away = TurnedAway(log, timers.call_later)
    turned_away.add(Why.PER_ADDRESS, peer="192.0.2.1")
    turned_away.add(Why.PROXY_HEADER, peer="192.0.2.2", detail="none")
    assert log.lines == [
        ("too many connections from an address", {"count": 1, "peer": "192.0.2.1"}),
        ("no PROXY header", {"count": 1, "peer": "192.0.2.2", "detail": "none"}),
    ]


def test_failed_handshakes_are_counted_and_not_told(timers: Timers) -> None:
    log = Log()
    turned_away = TurnedAway(log, timers.call_later)
    turned_away.add(Why.TLS_HANDSHAKE, peer="192.0.2.1", detail="wrong version number")
    assert (log.lines, timers.due) == ([], [])
    assert turned_away.counts == {
        "connections": 0,
        "connections_per_address": 0,
        "proxy_header": 0,
        "tls_handshake": 1,
    }
