"""``session:``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.config import SessionConfig
from gateway.config.report import Report
from gateway.config.settings import CookieSettings, SessionSettings
from gateway.model import CookieShape, Lifetime

SHORTEST_SECRET = 32
"""Characters; in hexadecimal that is 128 bits."""


def build_session(
    settings: SessionSettings, public_url: str, folder: Path, report: Report
) -> SessionConfig:
    """Return where sessions live, for how long, and in which cookie."""
    if report.sound("session", "secret"):
        _judge_secrets(settings, report)
    return SessionConfig(
        store=_store(settings.store, folder, report),
        secrets=settings.secret,
        encrypt=_encrypt(settings, report),
        cookie=_cookie(settings.cookie, public_url, report),
        lifetime=_lifetime(settings, report),
        cache=settings.cache,
        stale_for=_stale_for(settings, report),
        store_timeout=settings.store_timeout,
    )


def _judge_secrets(settings: SessionSettings, report: Report) -> None:
    for index, secret in enumerate(settings.secret):
        if len(secret) < SHORTEST_SECRET:
            message = f"a secret under {SHORTEST_SECRET} characters can be guessed"
            report.warn(("session", "secret", index), message)
    if not settings.secret and not settings.store.startswith(("memory://", "sqlite://")):
        report.warn(
            ("session", "store"),
            "without session.secret, sessions are not sealed there, and a form made by one process"
            " is refused by every other one",
        )


def _encrypt(settings: SessionSettings, report: Report) -> bool:
    if not settings.encrypt or settings.secret or not report.sound("session", "secret"):
        return settings.encrypt and bool(settings.secret)
    if "encrypt" in settings.model_fields_set:
        report.error(("session", "encrypt"), "needs session.secret, to seal sessions with")
    return False


def _stale_for(settings: SessionSettings, report: Report) -> float:
    if settings.on_store_outage and not settings.cache:
        report.error(("session", "on_store_outage"), "serve_stale needs session.cache: true")
    return settings.on_store_outage


def _store(url: str, folder: Path, report: Report) -> str:
    path = ("session", "store")
    if not report.sound(*path) or url == "memory://":
        return url
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        file = folder.absolute() / url.removeprefix("sqlite:///")
        if not file.parent.is_dir():
            report.error(path, "the database's folder does not exist")
        elif file.is_dir():
            report.error(path, "expected a file after sqlite:///, not a folder")
        return f"sqlite:///{file}"
    if not _is_redis(url):
        report.error(
            path,
            "expected memory://, sqlite:///file, redis://host:port/db or rediss://host:port/db",
        )
    return url


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    database = parts.path.removeprefix("/")
    return (
        parts.scheme in ("redis", "rediss")
        and bool(host)
        and url.isprintable()
        and (not database or database.isdecimal())
        and not (parts.query or parts.fragment)
    )


def _cookie(settings: CookieSettings, public_url: str, report: Report) -> CookieShape:
    path = ("session", "cookie")
    secure = public_url.startswith("https:")
    domain = None if settings.domain is None else settings.domain.lower().removeprefix(".")
    if report.sound("server"):  # else nobody knows public_url
        host = urlsplit(public_url).hostname or ""
        if settings.same_site == "none" and not secure:
            report.error((*path, "same_site"), "browsers take none only with https, in public_url")
        if domain is not None and ("." not in domain or not f".{host}".endswith(f".{domain}")):
            report.error((*path, "domain"), "expected the host of public_url or a domain above it")
    prefix = ""
    if secure:
        prefix = "__Host-" if domain is None and settings.path == "/" else "__Secure-"
    return CookieShape(
        name=prefix + settings.name,
        same_site=settings.same_site,
        domain=domain,
        path=settings.path,
        secure=secure,
    )


def _lifetime(settings: SessionSettings, report: Report) -> Lifetime:
    given = settings.model_fields_set
    idle, update = settings.idle_timeout, settings.update_age
    if "idle_timeout" not in given:
        idle = min(idle, settings.max_age)
    elif idle > settings.max_age:
        report.error(("session", "idle_timeout"), "expected at most max_age, not %v")
    if "update_age" not in given:
        update = min(update, idle / 2)
    elif update >= idle:
        report.error(("session", "update_age"), "expected less than idle_timeout, not %v")
    return Lifetime(max_age=settings.max_age, idle_timeout=idle, update_age=update)
