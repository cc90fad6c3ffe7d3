"""``session.store``, and where other frameworks keep theirs."""

from __future__ import annotations

from pathlib import Path

from gateway.config.report import Report
from gateway.config.source import Path as Place
from gateway.rules import postgres_urls, redis_urls

_PLACE = ("session", "store")
_EXPECTED = (
    "expected memory://, sqlite:///file, redis://host:port/db (or redis+sentinel://, "
    "redis+cluster://) or postgresql://host/database"
)


def build_store(url: str, folder: Path, report: Report, place: Place = _PLACE) -> str:
    """Return the URL of a store, with its files relative to nothing."""
    if not report.sound(*place) or url == "memory://":
        return url
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return _sqlite(url, folder, report, place)
    if redis_urls.is_redis(url):
        return _redis(url, folder, report, place)
    if postgres_urls.is_postgres(url):
        return _postgres(url, folder, report, place)
    report.error(place, _EXPECTED)
    return url


def _sqlite(url: str, folder: Path, report: Report, place: Place) -> str:
    file = folder.absolute() / url.removeprefix("sqlite:///")
    if not file.parent.is_dir():
        report.error(place, "the database's folder does not exist")
    elif file.is_dir():
        report.error(place, "expected a file after sqlite:///, not a folder")
    return f"sqlite:///{file}"


def _redis(url: str, folder: Path, report: Report, place: Place) -> str:
    try:
        read = redis_urls.parse_redis_url(url, folder)
    except ValueError as exc:
        report.error(place, str(exc))
        return url
    names = ("ssl_ca_certs", "ssl_certfile and ssl_keyfile")
    _check_files(report, place, (read.ca, read.cert, read.key), names)
    return redis_urls.absolute(url, folder)


def _postgres(url: str, folder: Path, report: Report, place: Place) -> str:
    try:
        options = postgres_urls.parse_postgres_url(url, folder)
    except ValueError as exc:
        report.error(place, str(exc))
        return url
    ca, cert, key = (
        Path(options[name]) if name in options else None
        for name in ("sslrootcert", "sslcert", "sslkey")
    )
    _check_files(report, place, (ca, cert, key), ("sslrootcert", "sslcert and sslkey"))
    return postgres_urls.absolute(url, folder)


def _check_files(
    report: Report, place: Place, files: tuple[Path | None, ...], names: tuple[str, str]
) -> None:
    ca, cert, key = files
    if ca is None and cert is None:
        return
    import ssl  # 10 ms, and only where it is used

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ValueError):
        report.error(place, f"{names[0]} names no file of certificates in PEM")
    try:
        if cert is not None:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError):
        report.error(
            place,
            f"{names[1]} name no pair of PEM files: the certificate, and its key, not encrypted",
        )
