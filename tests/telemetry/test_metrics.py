"""What Prometheus reads is what happened, in its own format."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import Reason
from gateway.model import TargetStatus
from gateway.telemetry.metrics import Metrics

Labels = dict[str, str]


def scraped(metrics: Metrics) -> dict[str, list[tuple[Labels, float]]]:
    """Return the samples by name, as a Prometheus server would read them."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_requests_are_counted_by_route_reason_and_class_of_status() -> None:
    metrics = Metrics()
    app = metrics.route("/app/**")
    app.count(200, Reason.OK, 0.01)
    app.count(204, Reason.OK, 0.01)
    app.count(302, Reason.NOT_SIGNED_IN, 0.01)
    metrics.route("/admin/**").count(403, Reason.MISSING_ROLE, 0.01)
    assert scraped(metrics)["gateway_requests_total"] == [
        ({"route": "/app/**", "reason": "ok", "status": "2xx"}, 2),
        ({"route": "/app/**", "reason": "not_signed_in", "status": "3xx"}, 1),
        ({"route": "/admin/**", "reason": "missing_role", "status": "4xx"}, 1),
    ]


@pytest.mark.parametrize(
    ("status", "label"),
    [(0, "none"), (101, "1xx"), (200, "2xx"), (599, "5xx"), (999, "9xx")],
)
def test_no_status_an_upstream_may_send_makes_a_label_of_its_own(status: int, label: str) -> None:
    metrics = Metrics()
    metrics.route("r").count(status, Reason.OK, 0.0)
    [(labels, _)] = scraped(metrics)["gateway_requests_total"]
    assert labels["status"] == label


def test_durations_fall_into_cumulative_buckets() -> None:
    metrics = Metrics()
    meter = metrics.route("r")
    for seconds in (0.0005, 0.001, 0.0011, 0.3, 99.0):
        meter.count(200, Reason.OK, seconds)
    found = scraped(metrics)
    buckets = {labels["le"]: value for labels, value in found["gateway_request_seconds_bucket"]}
    assert buckets["0.001"] == 2  # a bound belongs to its bucket
    assert buckets["0.0025"] == 3
    assert buckets["0.5"] == 4
    assert buckets["10.0"] == 4
    assert buckets["+Inf"] == 5
    assert found["gateway_request_seconds_count"] == [({"route": "r"}, 5)]
    assert found["gateway_request_seconds_sum"][0][1] == pytest.approx(99.3026)


def test_a_route_goes_on_counting_when_it_is_asked_for_again() -> None:
    metrics = Metrics()
    metrics.route("r").count(200, Reason.OK, 0.0)
    metrics.route("r").count(200, Reason.OK, 0.0)  # after a reload
    assert scraped(metrics)["gateway_requests_total"][0][1] == 2


def test_routes_without_requests_are_not_shown() -> None:
    metrics = Metrics()
    metrics.route("r")
    assert "gateway_request_seconds_count" not in scraped(metrics)


def test_a_label_may_hold_any_character() -> None:
    metrics = Metrics()
    metrics.route('/"{x}\\\n').count(200, Reason.OK, 0.0)
    assert scraped(metrics)["gateway_requests_total"][0][0]["route"] == '/"{x}\\\n'


def test_plain_numbers_are_read_as_they_stand() -> None:
    metrics = Metrics()
    metrics.in_flight = 3
    metrics.cache_hits = 10
    metrics.cache_misses = 4
    metrics.store_errors = 1
    metrics.reloads_ok = 2
    metrics.reloads_failed = 5
    found = scraped(metrics)
    assert found["gateway_requests_in_flight"] == [({}, 3)]
    assert found["gateway_sessions_cache_hits_total"] == [({}, 10)]
    assert found["gateway_sessions_cache_misses_total"] == [({}, 4)]
    assert found["gateway_store_errors_total"] == [({}, 1)]
    assert found["gateway_config_reloads_total"] == [
        ({"result": "ok"}, 2),
        ({"result": "refused"}, 5),
    ]


def test_connections_are_asked_for_when_somebody_scrapes() -> None:
    metrics = Metrics()
    state = {"app": (1, 2)}
    metrics.upstream_connections = {"app": lambda: state["app"]}
    state["app"] = (5, 7)
    assert scraped(metrics)["gateway_upstream_connections"] == [
        ({"upstream": "app", "state": "busy"}, 5),
        ({"upstream": "app", "state": "idle"}, 7),
    ]


def test_targets_say_how_they_stand_when_somebody_scrapes() -> None:
    metrics = Metrics()
    statuses = [
        TargetStatus(target="http://a", busy=3, why_not=None),
        TargetStatus(target="http://b", busy=0, why_not="refused"),
    ]
    metrics.upstream_targets = {"app": lambda: statuses, "one": lambda: ()}
    metrics.upstream_waiting = {"app": lambda: 7}
    found = scraped(metrics)
    a, b = ({"upstream": "app", "target": f"http://{name}"} for name in "ab")
    assert found["gateway_upstream_target_up"] == [(a, 1), (b, 0)]
    assert found["gateway_upstream_target_requests"] == [(a, 3), (b, 0)]
    assert found["gateway_upstream_waiting_requests"] == [({"upstream": "app"}, 7)]


def test_the_build_and_the_process_describe_themselves() -> None:
    found = scraped(Metrics())
    [(build, one)] = found["gateway_build_info"]
    assert one == 1
    assert set(build) == {"version", "python"}


def test_two_instances_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.route("r").count(200, Reason.OK, 0.0)
    assert "gateway_requests_total" not in scraped(other)
