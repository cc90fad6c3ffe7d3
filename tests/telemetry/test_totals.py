"""The numbers of several processes read as those of one."""

from __future__ import annotations

import re

from gateway.errors import Reason
from gateway.telemetry import totals
from gateway.telemetry.metrics import Metrics


def numbers(route: str = "/a", *, requests: int = 1, in_flight: int = 0) -> bytes:
    metrics = Metrics()
    metrics.in_flight = in_flight
    for _ in range(requests):
        metrics.route(route).count(200, Reason.OK, 0.002)
    metrics.upstream_connections = {"app": lambda: (1, 2)}
    return totals.snapshot(metrics.everything())


def value(text: bytes, start: str) -> float | None:
    found = re.search(rf"^{re.escape(start)} (.+)$", text.decode(), re.MULTILINE)
    return None if found is None else float(found[1])


def test_one_process_reads_as_itself() -> None:
    metrics = Metrics()
    metrics.route("/a").count(200, Reason.OK, 0.002)
    mine = [line for line in metrics.render().splitlines() if not line.startswith(b"process_")]
    summed = totals.render([totals.snapshot(metrics.everything())])
    assert mine == [line for line in summed.splitlines() if not line.startswith(b"process_")]


def test_what_was_counted_and_what_is_adds_up() -> None:
    text = totals.render([numbers(requests=2, in_flight=1), numbers(requests=3, in_flight=4)])
    labels = '{reason="ok",route="/a",status="2xx"}'
    assert value(text, f"gateway_requests_total{labels}") == 5
    assert value(text, "gateway_requests_in_flight") == 5
    assert value(text, 'gateway_request_seconds_bucket{le="0.0025",route="/a"}') == 5
    assert value(text, 'gateway_request_seconds_count{route="/a"}') == 5
    assert value(text, 'gateway_upstream_connections{state="idle",upstream="app"}') == 4


def test_labels_keep_numbers_apart() -> None:
    text = totals.render([numbers("/a"), numbers("/b", requests=2)])
    assert value(text, 'gateway_requests_total{reason="ok",route="/a",status="2xx"}') == 1
    assert value(text, 'gateway_requests_total{reason="ok",route="/b",status="2xx"}') == 2


def test_there_is_one_build_and_one_start() -> None:
    text = totals.render([numbers(), numbers()])
    assert re.search(rb"^gateway_build_info\{.*\} 1\.0$", text, re.MULTILINE)
    alone = totals.render([numbers()])
    start = "process_start_time_seconds"
    assert value(text, start) == value(alone, start)


def test_of_who_has_ended_stays_what_was_counted() -> None:
    past = totals.lasting([numbers(requests=2, in_flight=7), numbers(requests=1, in_flight=7)])
    text = totals.render([past, numbers(requests=1)])
    assert value(text, 'gateway_requests_total{reason="ok",route="/a",status="2xx"}') == 4
    assert value(text, "gateway_requests_in_flight") == 0
