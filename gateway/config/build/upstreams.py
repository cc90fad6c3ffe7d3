"""``upstreams:``."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.report import Report
from gateway.config.route_settings import UpstreamSettings
from gateway.model import Upstream, UpstreamTimeouts


def build_upstreams(
    settings: Mapping[str, UpstreamSettings | None], report: Report
) -> Mapping[str, Upstream]:
    """Return the upstreams that could be read; there has to be one."""
    if not settings and report.sound("upstreams") and report.sound():
        report.error(("upstreams",), "expected a mapping of names to URLs, with one at least")
    return {
        name: Upstream(
            name=name,
            targets=upstream.targets[:1],
            timeouts=UpstreamTimeouts(
                connect=upstream.timeouts.connect,
                first_byte=upstream.timeouts.first_byte,
                idle=upstream.timeouts.idle,
            ),
        )
        for name, upstream in settings.items()
        if upstream is not None
    }
