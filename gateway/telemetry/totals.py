"""The metrics of several processes as those of one: sums, by name and labels."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_FIRST = frozenset({"process_start_time_seconds"})
"""The gateway is as old as the oldest of its processes."""
_WORST = frozenset({"gateway_upstream_target_up"})
"""Of numbers that say yes or no, the least."""
_LASTING = frozenset({"counter", "histogram"})


def snapshot(metrics: Iterable[Metric]) -> bytes:
    """Return metrics in a form that another process of ours can read."""
    return pickle.dumps(list(metrics), pickle.HIGHEST_PROTOCOL)


def lasting(snapshots: Iterable[bytes]) -> bytes:
    """Return what stays of processes that have ended: what they counted, not how they were."""
    return snapshot(m for m in _summed(snapshots) if m.type in _LASTING)


def render(snapshots: Iterable[bytes]) -> bytes:
    """Return the sums in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(_summed(snapshots)))
    return generate_latest(registry)


def _summed(snapshots: Iterable[bytes]) -> list[Metric]:
    totals: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for data in snapshots:
        for metric in pickle.loads(data):  # noqa: S301  from a process of our own
            totals.setdefault(metric.name, metric)
            known = values.setdefault(metric.name, {})
            for sample in metric.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                known[key] = _both(metric, known.get(key), sample.value)
    for name, metric in totals.items():
        metric.samples = []
        for (sample_name, labels), value in values[name].items():
            metric.add_sample(sample_name, dict(labels), value)
    return list(totals.values())


def _both(metric: Metric, one: float | None, other: float) -> float:
    if one is None:
        return other
    if metric.type == "info" or metric.name in _FIRST or metric.name in _WORST:
        return min(one, other)
    return one + other


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
