"""What Prometheus reads."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.errors import Reason
from gateway.model import TargetStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NO_STATUS = "none"


class RouteMeter:
    """Counts the requests of one route.

    Plain lists, read when somebody scrapes: 0.3 µs a request, where a counter and a histogram of
    prometheus_client with bound labels take 1.2.
    """

    __slots__ = ("_buckets", "_outcomes", "_seconds")

    def __init__(self) -> None:
        self._outcomes: dict[Reason, list[int]] = {}
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def count(self, status: int, reason: Reason, seconds: float) -> None:
        """Count one request; status 0 if the client left before it was told one."""
        by_class = self._outcomes.get(reason)
        if by_class is None:
            by_class = self._outcomes[reason] = [0] * 10
        by_class[status // 100] += 1
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        """Yield reason, class of status (``2xx``) and how often, for what happened at all."""
        for reason, by_class in self._outcomes.items():
            for number, times in enumerate(by_class):
                if times:
                    yield reason.value, f"{number}xx" if number else _NO_STATUS, times

    def buckets(self) -> list[tuple[str, int]]:
        """Return the histogram as Prometheus has it: each bucket holds all below its bound."""
        bounds = [*map(str, _BOUNDS), "+Inf"]
        return list(zip(bounds, accumulate(self._buckets), strict=True))

    @property
    def seconds(self) -> float:
        """All durations together."""
        return self._seconds


class Metrics(Collector):
    """One instance a process. Label values come from configuration or enums, never from requests.

    The plain numbers are for their owners to count up.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        """Requests that are being answered."""
        self.cache_hits = 0
        """Sessions found in this process's cache."""
        self.cache_misses = 0
        """Sessions that the store was asked for."""
        self.store_errors = 0
        """Times the session store did not do its part."""
        self.stale_sessions = 0
        """Requests let in on a session that the store could not confirm."""
        self.rate_limit_errors = 0
        """Times Redis did not count a request, so that this process counted alone."""
        self.accepted: dict[tuple[str, str], int] = {}
        """By source and outcome: cookies of other frameworks that were looked into."""
        self.reloads_ok = 0
        self.reloads_failed = 0
        self.turned_away: Mapping[str, int] = {}
        """By why: connections that were closed before a request could come."""
        self.upstream_connections: Mapping[str, Callable[[], tuple[int, int]]] = {}
        """By upstream: how many connections are (busy, idle), asked when somebody scrapes."""
        self.upstream_targets: Mapping[str, Callable[[], Iterable[TargetStatus]]] = {}
        """By upstream: how its targets stand, where there is a choice between them."""
        self.upstream_waiting: Mapping[str, Callable[[], int]] = {}
        """By upstream with a limit: how many requests wait for a connection."""
        self._routes: dict[str, RouteMeter] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count_rate_limit_error(self) -> None:
        """Count a request that Redis did not."""
        self.rate_limit_errors += 1

    def count_accepted(self, source: str, outcome: str) -> None:
        """Count how a cookie of another framework was judged: opened, or why not."""
        key = source, outcome
        self.accepted[key] = self.accepted.get(key, 0) + 1

    def route(self, label: str) -> RouteMeter:
        """Return the meter of a route, by its id; it goes on counting across reloads."""
        return self._routes.setdefault(label, RouteMeter())

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, as ``CONTENT_TYPE`` says."""
        return generate_latest(self._registry)

    def everything(self) -> Iterable[Metric]:
        """Return what ``render`` writes, with this process's memory and CPU, for ``totals``."""
        return self._registry.collect()

    def collect(self) -> Iterable[Metric]:
        """Yield every metric, for the registry."""
        yield from self._of_requests()
        yield _gauge("gateway_requests_in_flight", "Requests being answered now.", self.in_flight)
        yield _counter(
            "gateway_sessions_cache_hits_total",
            "Sessions found in the process's cache.",
            self.cache_hits,
        )
        yield _counter(
            "gateway_sessions_cache_misses_total",
            "Sessions that the store was asked for.",
            self.cache_misses,
        )
        yield _counter(
            "gateway_store_errors_total",
            "Times the session store did not do its part.",
            self.store_errors,
        )
        yield _counter(
            "gateway_sessions_stale_total",
            "Requests let in on a session that the store could not confirm.",
            self.stale_sessions,
        )
        yield _counter(
            "gateway_rate_limit_errors_total",
            "Times Redis did not count a request, so that this process counted alone.",
            self.rate_limit_errors,
        )
        yield self._of_accepted()
        yield self._of_connections()
        yield self._of_reloads()
        yield from self._of_upstreams()
        yield InfoMetricFamily(
            "gateway_build",
            "What is running.",
            {"version": __version__, "python": platform.python_version()},
        )

    def _of_requests(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "gateway_requests_total",
            "Requests answered, by route, by why they ended as they did, and by class of status.",
            labels=["route", "reason", "status"],
        )
        seconds = HistogramMetricFamily(
            "gateway_request_seconds",
            "From the head of a request to the end of its answer, by route.",
            labels=["route"],
        )
        for label, meter in self._routes.items():
            outcomes = list(meter.outcomes())
            for reason, status, times in outcomes:
                total.add_metric([label, reason, status], times)
            if outcomes:  # 10,000 routes that nobody asked for are no reading matter
                seconds.add_metric([label], meter.buckets(), meter.seconds)
        yield total
        yield seconds

    def _of_accepted(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_accepted_cookies_total",
            "Cookies of other frameworks that were looked into, by source, and by what came of it: "
            "`opened`, or why there is no session.",
            labels=["source", "outcome"],
        )
        for (source, outcome), count in self.accepted.items():
            family.add_metric([source, outcome], count)
        return family

    def _of_connections(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_connections_refused_total",
            "Connections closed before a request could come, by why.",
            labels=["reason"],
        )
        for why, count in self.turned_away.items():
            family.add_metric([why], count)
        return family

    def _of_reloads(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_config_reloads_total",
            "Times a new configuration was asked for, by whether it was taken.",
            labels=["result"],
        )
        family.add_metric(["ok"], self.reloads_ok)
        family.add_metric(["refused"], self.reloads_failed)
        return family

    def _of_upstreams(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "gateway_upstream_connections",
            "Open connections to each upstream, by what they do.",
            labels=["upstream", "state"],
        )
        for name, connections in self.upstream_connections.items():
            busy, idle = connections()
            family.add_metric([name, "busy"], busy)
            family.add_metric([name, "idle"], idle)
        yield family
        up = GaugeMetricFamily(
            "gateway_upstream_target_up",
            "Whether a target gets requests: 0 while its checks fail or it is ejected.",
            labels=["upstream", "target"],
        )
        busy_with = GaugeMetricFamily(
            "gateway_upstream_target_requests",
            "Requests that a target is busy with.",
            labels=["upstream", "target"],
        )
        for name, targets in self.upstream_targets.items():
            for status in targets():
                up.add_metric([name, status.target], status.why_not is None)
                busy_with.add_metric([name, status.target], status.busy)
        yield up
        yield busy_with
        waiting = GaugeMetricFamily(
            "gateway_upstream_waiting_requests",
            "Requests that wait for one of an upstream's `max_connections`.",
            labels=["upstream"],
        )
        for name, count in self.upstream_waiting.items():
            waiting.add_metric([name], count())
        yield waiting


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
