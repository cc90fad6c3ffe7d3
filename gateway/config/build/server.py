"""``server:``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway.config.config import AdminConfig, Listener, ServerConfig, ServerLimits, TlsFiles
from gateway.config.report import Report
from gateway.config.server_settings import ListenerSettings, ServerSettings, TlsSettings
from gateway.config.source import Path as Place
from gateway.errors import Problem


def build_server(settings: ServerSettings, folder: Path, report: Report) -> ServerConfig:
    """Return the near side's configuration."""
    admin = None
    listeners = tuple(_listener(each, at, report) for at, each in enumerate(settings.listen))
    places = [listener.place for listener in listeners]
    if settings.admin is not None:
        admin = AdminConfig(listen=settings.admin.listen, token=settings.admin.token)
        if admin.listen.place in places and _fixed(admin.listen):
            report.error(("server", "admin", "listen"), "the public listener has this address")
    for index, listener in enumerate(listeners):
        if listener.place in places[:index] and _fixed(listener):
            report.error(("server", "listen", index), "this address is listed twice")
    public_url = settings.public_url or _usual_url(settings)
    if settings.tls is not None and public_url.startswith("http:"):
        report.warn(("server", "public_url"), "with tls, users see https, but this says http")
    _judge_trust(settings, report)
    proxies = settings.trusted_proxies
    limits = settings.limits
    return ServerConfig(
        listen=listeners,
        workers=settings.workers,
        public_url=public_url,
        base_path=settings.base_path,
        templates=None if settings.templates is None else _templates(settings, folder, report),
        trusted_proxies=tuple(proxy for proxy in proxies if not isinstance(proxy, str)),
        trust_unix="unix" in proxies,
        tls=_tls(settings.tls or (), folder, report),
        admin=admin,
        limits=ServerLimits(
            connections=limits.connections,
            connections_per_address=limits.connections_per_address,
            requests=limits.requests,
        ),
        tracing=settings.tracing,
        request_log=settings.request_log,
        drain_timeout=settings.drain_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        header_timeout=settings.header_timeout,
    )


def _templates(settings: ServerSettings, folder: Path, report: Report) -> Path:
    from gateway.config import page_templates  # jinja, and only where it is used

    place = folder / (settings.templates or "")
    try:
        found = list(page_templates.faults(place))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a folder's name"
        report.error(("server", "templates"), f"cannot read the folder: {why}")
    else:
        report.add(Problem(str(fault.file), fault.line, 1, "", fault.message) for fault in found)
    return place


NOT_SHARED = (
    "memory:// is the memory of one process, and several workers would each know other sessions: "
    "use sqlite:///file, redis:// or postgresql://, or one worker"
)


def check_workers(server: ServerConfig, store: str, report: Report) -> None:
    """Refuse several workers on a store that they cannot share."""
    if server.workers != 1 and store == "memory://":
        report.error(("server", "workers"), NOT_SHARED)


def _listener(settings: ListenerSettings, index: int, report: Report) -> Listener:
    listener = settings.address
    if settings.mode is not None and listener.path is None:
        report.error(("server", "listen", index, "mode"), "only a Unix socket has permissions")
    return replace(listener, mode=settings.mode, proxy_protocol=settings.proxy_protocol)


def _judge_trust(settings: ServerSettings, report: Report) -> None:
    """Refuse a PROXY header that nobody may send, and trust in everybody that nobody asked for."""
    for index, proxy in enumerate(settings.trusted_proxies):
        if not isinstance(proxy, str) and not proxy.prefixlen and not settings.trust_everybody:
            report.error(
                ("server", "trusted_proxies", index),
                "this is everybody, and whoever reaches a listener could claim any address: name "
                "your proxies, or say trust_everybody: true beside it",
            )
    for index, listener in enumerate(settings.listen):
        if listener.proxy_protocol and not settings.trusted_proxies:
            report.error(
                ("server", "listen", index, "proxy_protocol"),
                "trusted_proxies names nobody whose header could be believed",
            )


def _fixed(listener: Listener) -> bool:
    return listener.port != 0 or not listener.host


def _usual_url(settings: ServerSettings) -> str:
    scheme, usual_port = ("http", 80) if settings.tls is None else ("https", 443)
    ports = (listener.address.port for listener in settings.listen)
    port = next(filter(None, ports), usual_port)
    return f"{scheme}://localhost" + ("" if port == usual_port else f":{port}")


def _tls(settings: tuple[TlsSettings, ...], folder: Path, report: Report) -> tuple[TlsFiles, ...]:
    pairs = []
    for index, each in enumerate(settings):
        place = ("server", "tls", index) if len(settings) > 1 else ("server", "tls")
        files = TlsFiles(cert=folder / each.cert, key=folder / each.key)
        readable = True
        for name, file in (("cert", files.cert), ("key", files.key)):
            try:
                file.read_bytes()
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "not a file's name"
                report.error((*place, name), f"cannot read the file: {why}")
                readable = False
        if readable:
            _check_pair(files, place, report)
        pairs.append(files)
    return tuple(pairs)


def _check_pair(files: TlsFiles, place: Place, report: Report) -> None:
    import ssl  # 10 ms, and only where it is used

    try:
        # The empty password keeps OpenSSL from asking for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key, password="")
    except (ssl.SSLError, ValueError):
        report.error(
            place,
            "cert and key are no pair of PEM files: the certificate, and its key, not encrypted",
        )
