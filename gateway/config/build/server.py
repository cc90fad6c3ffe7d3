"""``server:``."""

from __future__ import annotations

from pathlib import Path

from gateway.config.config import AdminConfig, Listener, ServerConfig, TlsFiles
from gateway.config.report import Report
from gateway.config.settings import ServerSettings, TlsSettings


def build_server(settings: ServerSettings, folder: Path, report: Report) -> ServerConfig:
    """Return the near side's configuration."""
    admin = None
    if settings.admin is not None:
        admin = AdminConfig(listen=settings.admin.listen, token=settings.admin.token)
        if admin.listen in settings.listen and _fixed(admin.listen):
            report.error(("server", "admin", "listen"), "the public listener has this address")
    for index, listener in enumerate(settings.listen):
        if listener in settings.listen[:index] and _fixed(listener):
            report.error(("server", "listen", index), "this address is listed twice")
    public_url = settings.public_url or _usual_url(settings)
    if settings.tls is not None and public_url.startswith("http:"):
        report.warn(("server", "public_url"), "with tls, users see https, but this says http")
    proxies = settings.trusted_proxies
    return ServerConfig(
        listen=settings.listen,
        public_url=public_url,
        base_path=settings.base_path,
        trusted_proxies=tuple(proxy for proxy in proxies if not isinstance(proxy, str)),
        trust_unix="unix" in proxies,
        tls=None if settings.tls is None else _tls(settings.tls, folder, report),
        admin=admin,
        request_log=settings.request_log,
        drain_timeout=settings.drain_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        header_timeout=settings.header_timeout,
    )


def _fixed(listener: Listener) -> bool:
    return listener.path is not None or listener.port != 0


def _usual_url(settings: ServerSettings) -> str:
    scheme, usual_port = ("http", 80) if settings.tls is None else ("https", 443)
    port = next((listener.port for listener in settings.listen if listener.port), usual_port)
    return f"{scheme}://localhost" + ("" if port == usual_port else f":{port}")


def _tls(settings: TlsSettings, folder: Path, report: Report) -> TlsFiles:
    files = TlsFiles(cert=folder / settings.cert, key=folder / settings.key)
    readable = True
    for name, file in (("cert", files.cert), ("key", files.key)):
        try:
            file.read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a file's name"
            report.error(("server", "tls", name), f"cannot read the file: {why}")
            readable = False
    if readable:
        _check_pair(files, report)
    return files


def _check_pair(files: TlsFiles, report: Report) -> None:
    import ssl  # 10 ms, and only where it is used

    try:
        # The empty password keeps OpenSSL from asking for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key, password="")
    except (ssl.SSLError, ValueError):
        report.error(
            ("server", "tls"),
            "cert and key are no pair of PEM files: the certificate, and its key, not encrypted",
        )
