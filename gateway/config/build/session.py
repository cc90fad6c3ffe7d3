"""``session:``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.build.store import build_store
from gateway.config.build.tables import tables_of
from gateway.config.config import NOWHERE, SessionConfig
from gateway.config.python_code import OwnFunction
from gateway.config.report import Report
from gateway.config.settings import CookieSettings, SessionSettings
from gateway.formats import token
from gateway.model import CookieShape, Lifetime, Remember
from gateway.rules import postgres_urls
from gateway.rules.adapter_tables import Tables

SHORTEST_SECRET = 32
"""Characters; in hexadecimal that is 128 bits."""

_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class _Framework:
    """Whose app reads the gateway's cookies."""

    cookie: str
    """Its name, without prefix."""
    piece: int | None = None
    """Characters of a value in one cookie, where it holds a session."""


# As in ``formats``, which would bring cryptography along.
_FRAMEWORKS = {
    "nextauth": _Framework("next-auth.session-token", 3933),
    "authjs": _Framework("authjs.session-token", 3936),
    "nextauth-database": _Framework("next-auth.session-token"),
}


def build_session(
    settings: SessionSettings, public_url: str, folder: Path, report: Report
) -> SessionConfig:
    """Return where sessions live, for how long, and in which cookie."""
    if report.sound("session", "secret"):
        _judge_secrets(settings, report)
    in_cookies = settings.strategy == "jwt"
    nowhere = in_cookies and "store" not in settings.model_fields_set
    if in_cookies:
        _judge_jwt(settings, report, nowhere=nowhere)
    framework = _FRAMEWORKS.get(settings.format)
    _judge_format(settings, framework, report)
    return SessionConfig(
        strategy=settings.strategy,
        format=settings.format,
        tables=_tables(settings, report),
        store=NOWHERE if nowhere else build_store(settings.store, folder, report),
        secrets=settings.secret,
        encrypt=_encrypt(settings, report),
        anonymous=settings.anonymous,
        remember=Remember(settings.remember),
        max_per_user=settings.max_per_user,
        new_token=_new_token(settings.token, folder, report),
        cookie=_cookie(settings.cookie, framework, public_url, report),
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


def _judge_jwt(settings: SessionSettings, report: Report, *, nowhere: bool) -> None:
    if not settings.secret and report.sound("session", "secret"):
        report.error(("session", "strategy"), "jwt needs session.secret, to seal cookies with")
    if settings.token is not None:
        report.error(("session", "token"), "needs strategy: server, where cookies hold tokens")
    if not nowhere or not report.sound("session", "store"):
        return
    if settings.max_per_user is not None:
        report.error(("session", "max_per_user"), "needs session.store, to count sessions in")
    if settings.on_store_outage:
        report.error(("session", "on_store_outage"), "needs session.store")
    report.warn(
        ("session", "strategy"),
        "without session.store a session cannot be ended before its time: signing out removes the "
        "cookie from one browser alone, and gateway sessions cannot list, revoke or change any",
    )


def _judge_format(settings: SessionSettings, framework: _Framework | None, report: Report) -> None:
    if framework is None:
        if settings.forward_to is not None:
            message = "needs session.format: nobody else reads the gateway's own cookie"
            report.error(("session", "forward_to"), message)
        return
    in_cookies = framework.piece is not None
    if (settings.strategy == "jwt") != in_cookies and report.sound("session", "strategy"):
        message = (
            "needs strategy: jwt, where cookies hold sessions"
            if in_cookies
            else "needs strategy: server, where the store holds sessions"
        )
        report.error(("session", "format"), message)
    if settings.anonymous:
        report.error(
            ("session", "anonymous"),
            f"with format: {settings.format} the app would take every visitor for somebody who is "
            "signed in",
        )


def _tables(settings: SessionSettings, report: Report) -> Tables | None:
    given = settings.model_fields_set
    if settings.format != "nextauth-database":
        for name, key in (("db_schema", "schema"), ("tables", "tables"), ("columns", "columns")):
            if name in given:
                message = "needs session.format: nextauth-database"
                report.error(("session", key), message, key=True)
        return None
    if not postgres_urls.is_postgres(settings.store) and report.sound("session", "store"):
        message = "with format: nextauth-database, expected postgresql://user@host/database"
        report.error(("session", "store"), message)
    if settings.token is not None:
        report.error(("session", "token"), "cannot go with format: nextauth-database")
    if settings.on_store_outage:
        message = "cannot go with format: nextauth-database, which keeps no copies to serve"
        report.error(("session", "on_store_outage"), message)
    if settings.db_schema is None:
        if report.sound("session", "schema"):
            report.error(("session", "schema"), "this key is missing: prisma, drizzle or pg")
        return None
    return tables_of(settings.db_schema, settings.tables, settings.columns)


def forwarded_to(
    settings: SessionSettings, upstreams: tuple[str, ...], usual: str | None, report: Report
) -> frozenset[str]:
    """Return which upstreams get the session's cookie."""
    if settings.format not in _FRAMEWORKS:
        return frozenset()
    if settings.forward_to is None:
        if usual is None and report.sound("defaults", "upstream"):
            message = "session.forward_to has to say which upstream reads the session's cookie"
            report.error(("session", "format"), message)
        return frozenset() if usual is None else frozenset({usual})
    for index, name in enumerate(settings.forward_to):
        if name not in upstreams:
            where = ("session", "forward_to", index)
            report.error(where, "no upstream is named %v", *upstreams)
    return frozenset(settings.forward_to)


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


def _new_token(text: str | None, folder: Path, report: Report) -> Callable[[], object] | None:
    if text is None or not report.sound("session", "token"):
        return None
    path = ("session", "token")
    try:
        new_token = OwnFunction(text, folder)
    except ValueError as exc:
        report.error(path, str(exc))
        return None
    try:
        several = {token.checked(new_token()) for _ in range(_SAMPLES)}
    except ValueError as exc:
        report.error(path, f"made something else than a token: {exc}")
    except Exception as exc:
        report.error(path, f"failed: {type(exc).__name__}")
    else:
        if len(several) < _SAMPLES:
            report.error(path, "made the same token twice")
    return new_token


def _cookie(
    settings: CookieSettings, framework: _Framework | None, public_url: str, report: Report
) -> CookieShape:
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
        everywhere = domain is None and settings.path == "/" and framework is None
        prefix = "__Host-" if everywhere else "__Secure-"
    name = settings.name
    if framework is not None and "name" not in settings.model_fields_set:
        name = framework.cookie
    return CookieShape(
        name=prefix + name,
        piece=None if framework is None else framework.piece,
        same_site=settings.same_site,
        domain=domain,
        path=settings.path,
        secure=secure,
    )


def _lifetime(settings: SessionSettings, report: Report) -> Lifetime:
    idle, update = min(settings.idle_timeout, settings.max_age), settings.update_age
    if idle < settings.idle_timeout and "idle_timeout" in settings.model_fields_set:
        report.warn(("session", "idle_timeout"), "never comes: max_age ends sessions before")
    if "update_age" not in settings.model_fields_set:
        update = min(update, idle / 2)
    elif update >= idle:
        update = idle / 2
        what = "a session would end before: expiries are moved after half of its idle time"
        report.warn(("session", "update_age"), what)
    return Lifetime(max_age=settings.max_age, idle_timeout=idle, update_age=update)
