"""``session.store``: where sessions are kept."""

from __future__ import annotations

from pathlib import Path

from gateway.config.report import Report
from gateway.rules import redis_urls

_PLACE = ("session", "store")
_EXPECTED = "expected memory://, sqlite:///file, redis://host:port/db or postgresql://host/database"


def build_store(url: str, folder: Path, report: Report) -> str:
    """Return the URL of the store, with its files relative to nothing."""
    if not report.sound(*_PLACE) or url == "memory://":
        return url
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return _sqlite(url, folder, report)
    if redis_urls.is_redis(url):
        return _redis(url, folder, report)
    report.error(_PLACE, _EXPECTED)
    return url


def _sqlite(url: str, folder: Path, report: Report) -> str:
    file = folder.absolute() / url.removeprefix("sqlite:///")
    if not file.parent.is_dir():
        report.error(_PLACE, "the database's folder does not exist")
    elif file.is_dir():
        report.error(_PLACE, "expected a file after sqlite:///, not a folder")
    return f"sqlite:///{file}"


def _redis(url: str, folder: Path, report: Report) -> str:
    try:
        read = redis_urls.parse_redis_url(url, folder)
    except ValueError as exc:
        report.error(_PLACE, str(exc))
        return url
    if any((read.ca, read.cert, read.key)):
        import ssl  # 10 ms, and only where it is used

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if read.ca is not None:
                context.load_verify_locations(read.ca)
        except (OSError, ValueError):
            report.error(_PLACE, "ssl_ca_certs names no file of certificates in PEM")
        try:
            if read.cert is not None:
                # The empty password keeps OpenSSL from asking for one on the terminal.
                context.load_cert_chain(read.cert, read.key, password="")
        except (OSError, ValueError):
            report.error(
                _PLACE,
                "ssl_certfile and ssl_keyfile name no pair of PEM files: the certificate, and its"
                " key, not encrypted",
            )
    return redis_urls.absolute(url, folder)
