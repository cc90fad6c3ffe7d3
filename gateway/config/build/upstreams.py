"""``upstreams:``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.config.report import Report
from gateway.config.source import Path as Place
from gateway.config.upstream_settings import UpstreamSettings, UpstreamTlsSettings
from gateway.model import HealthCheck, Target, Upstream, UpstreamTimeouts, UpstreamTls

_QUEUE = 100
_QUEUE_TIMEOUT = 5.0


def build_upstreams(
    settings: Mapping[str, UpstreamSettings | None], folder: Path, report: Report
) -> Mapping[str, Upstream]:
    """Return the upstreams that could be read; there has to be one."""
    if not settings and report.sound("upstreams") and report.sound():
        report.error(("upstreams",), "expected a mapping of names to URLs, with one at least")
    return {
        name: _upstream(name, upstream, folder, report)
        for name, upstream in settings.items()
        if upstream is not None
    }


def _upstream(name: str, settings: UpstreamSettings, folder: Path, report: Report) -> Upstream:
    timeouts, health = settings.timeouts, settings.health
    limited = settings.max_connections is not None or not report.sound(
        "upstreams", name, "max_connections"
    )
    for key, value in (("queue", settings.queue), ("queue_timeout", settings.queue_timeout)):
        if value is not None and not limited:
            report.error(
                ("upstreams", name, key), "without max_connections, nothing waits", key=True
            )
    return Upstream(
        name=name,
        targets=_targets(name, settings, report),
        balance=settings.balance,
        health=None
        if health is None
        else HealthCheck(
            path=health.path,
            interval=health.interval,
            timeout=health.timeout,
            healthy_after=health.healthy_after,
            unhealthy_after=health.unhealthy_after,
        ),
        max_connections=settings.max_connections,
        queue=_QUEUE if settings.queue is None else settings.queue,
        queue_timeout=settings.queue_timeout or _QUEUE_TIMEOUT,
        tls=UpstreamTls() if settings.tls is None else _tls(name, settings, folder, report),
        timeouts=UpstreamTimeouts(
            connect=timeouts.connect,
            first_byte=timeouts.first_byte,
            idle=timeouts.idle,
            total=timeouts.total,
        ),
    )


def _targets(name: str, settings: UpstreamSettings, report: Report) -> tuple[Target, ...]:
    urls = [target.url for target in settings.targets]
    for index, url in enumerate(urls):
        if url in urls[:index]:
            report.error(("upstreams", name, "targets", index), "this target is listed twice")
    return tuple(replace(target.url, weight=target.weight) for target in settings.targets)


def _tls(name: str, settings: UpstreamSettings, folder: Path, report: Report) -> UpstreamTls:
    place: Place = ("upstreams", name, "tls")
    tls = settings.tls or UpstreamTlsSettings()
    if not any(target.url.scheme == "https" for target in settings.targets):
        report.error(place, "no target of this upstream is https")
    if tls.key is not None and tls.cert is None:
        report.error((*place, "key"), "a key proves nothing without its cert")
    if not tls.verify:
        if tls.ca is not None:
            report.error((*place, "ca"), "with verify: false, nobody looks at who signed")
        report.warn((*place, "verify"), "anybody on the way can read and change what is sent")
    built = UpstreamTls(
        ca=_file(tls.ca, (*place, "ca"), folder, report),
        server_name=tls.server_name,
        cert=_file(tls.cert, (*place, "cert"), folder, report),
        key=_file(tls.key, (*place, "key"), folder, report),
        verify=tls.verify,
    )
    if report.sound(*place):
        _check(built, place, report)
    return built


def _file(name: str | None, place: Place, folder: Path, report: Report) -> Path | None:
    if name is None:
        return None
    path = folder / name
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file's name"
        report.error(place, f"cannot read the file: {why}")
    return path


def _check(tls: UpstreamTls, place: Place, report: Report) -> None:
    import ssl  # 10 ms, and only where it is used

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca is not None:
        try:
            context.load_verify_locations(tls.ca)
        except ssl.SSLError:
            report.error((*place, "ca"), "the file holds no certificates in PEM")
    if tls.cert is not None:
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(tls.cert, tls.key, password="")
        except (ssl.SSLError, ValueError):
            report.error(
                (*place, "cert"),
                "cert and key are no pair of PEM files: the certificate, and its key, "
                "not encrypted",
            )
