"""``session.accept``: sessions of other frameworks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from gateway.config.accept_settings import (
    AcceptSettings,
    DatabaseAcceptSettings,
    IronAcceptSettings,
    JwtAcceptSettings,
    StoredAcceptSettings,
)
from gateway.config.accepted import Accepted, Kind
from gateway.config.build.accept_apart import OtherSource, check_cookies, check_prefixes
from gateway.config.build.store import build_store
from gateway.config.build.tables import tables_of
from gateway.config.report import Report
from gateway.config.source import Path
from gateway.rules import postgres_urls, redis_urls
from gateway.rules.adapter_tables import USER, Tables
from gateway.rules.foreign import CLAIMS, OBJECT, Paths, Trust

SHORTEST_SECRET = 32
"""Characters; in hexadecimal that is 128 bits."""

_V4 = ("__Secure-next-auth.session-token", "next-auth.session-token")
_V5 = ("__Secure-authjs.session-token", "authjs.session-token")
_COOKIES = {
    Kind.NEXTAUTH: _V4,
    Kind.AUTHJS: _V5,
    Kind.DATABASE: _V4 + _V5,
    Kind.EXPRESS: ("connect.sid",),
    Kind.NEXT_SESSION: ("sid",),
}
_IN_REDIS = "expected redis://host:port/db, or another URL of a Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What sources are checked against."""

    upstreams: tuple[str, ...]
    upstream: str | None
    """``defaults.upstream``, or the only one there is."""
    own_cookies: tuple[str, ...]
    providers: tuple[tuple[int, OtherSource], ...]
    folder: FilePath


def build_accept(
    entries: Iterable[tuple[int, AcceptSettings]], around: Around, report: Report
) -> tuple[Accepted, ...]:
    """Return the sources, in their order."""
    entries = tuple(entries)
    built: list[tuple[int, Accepted]] = []
    for index, settings in entries:
        path = ("session", "accept", index)
        source = _source(settings, path, around, report)
        if any(source.name == other.name for _, other in built):
            where = (*path, "name") if settings.name else path
            report.error(where, "another source has this name; give each a name of its own")
        if any(source.name == provider.id for _, provider in around.providers):
            where = (*path, "name") if settings.name else path
            report.error(where, "a sign-in provider has this name; X-Auth-Provider names both")
        check_cookies(source, path, built, around.own_cookies, report)
        built.append((index, source))
    prefixes = check_prefixes(entries, around.providers, report)
    return tuple(
        source
        if source.trust.id_prefix
        else replace(source, trust=replace(source.trust, reserved=prefixes))
        for _, source in built
    )


def _source(settings: AcceptSettings, path: Path, around: Around, report: Report) -> Accepted:
    kind = Kind(settings.type)
    source = Accepted(
        kind=kind,
        cookies=(settings.cookie,) if settings.cookie else _COOKIES.get(kind, ()),
        paths=_paths(settings, CLAIMS if isinstance(settings, JwtAcceptSettings) else OBJECT),
        trust=Trust(
            provider=settings.name or settings.type,
            id_prefix=settings.id_prefix or "",
            allowed_roles=None
            if settings.allowed_roles is None
            else frozenset(settings.allowed_roles),
        ),
        forward_to=_forward_to(settings, path, around, report),
    )
    if settings.allowed_roles is not None and settings.permissions is not None:
        message = "allowed_roles says what this source may give: let roles bring its permissions"
        report.error((*path, "permissions"), message)
    match settings:
        case JwtAcceptSettings():
            _judge(settings.secret, (*path, "secret"), report)
            source = replace(source, secrets=settings.secret)
        case IronAcceptSettings():
            for number, password in settings.password.items():
                where = (*path, "password")
                _judge_one(
                    password, where if len(settings.password) == 1 else (*where, number), report
                )
            return replace(source, passwords=dict(settings.password), version=settings.version)
        case DatabaseAcceptSettings():
            source = replace(
                source,
                store=_database(settings, path, around, report),
                tables=_tables(settings, path, report),
                prefix=settings.prefix,
            )
        case StoredAcceptSettings():
            _judge(settings.secret, (*path, "secret"), report)
            source = replace(
                source,
                secrets=settings.secret,
                store=_redis(settings.store, (*path, "store"), around, report),
                prefix=settings.prefix,
            )
        case _:  # pragma: no cover - sections reads one of the above
            raise TypeError(settings.type)
    if settings.update_age >= settings.max_age and "update_age" in settings.model_fields_set:
        report.error((*path, "update_age"), "expected less than max_age, not %v")
    return replace(
        source,
        touches=settings.touch == "gateway",
        max_age=settings.max_age,
        update_age=min(settings.update_age, settings.max_age / 2),
    )


def _paths(settings: AcceptSettings, usual: Paths) -> Paths:
    if settings.user is not None:
        usual = replace(usual, user=(settings.user,), id_keys=OBJECT.id_keys)
    if settings.roles is not None:
        usual = replace(usual, roles=(settings.roles,), roles_beside=False)
    if settings.permissions is not None:
        usual = replace(usual, permissions=(settings.permissions,))
    return usual


def _forward_to(
    settings: AcceptSettings, path: Path, around: Around, report: Report
) -> frozenset[str]:
    if settings.forward_to is None:
        if around.upstream is None and around.upstreams and report.sound("defaults", "upstream"):
            message = (
                "forward_to is missing: there are several upstreams, and defaults.upstream names "
                "none, so that no upstream gets the app's cookie"
            )
            report.warn(path, message)
        return frozenset(() if around.upstream is None else (around.upstream,))
    for index, name in enumerate(settings.forward_to):
        if name not in around.upstreams and (around.upstreams or report.sound("upstreams")):
            where = (*path, "forward_to", index)
            report.error(where, "no upstream is named %v", *around.upstreams)
    return frozenset(settings.forward_to)


# --- secrets -------------------------------------------------------------------------------------


def _judge(secrets: Sequence[str], path: Path, report: Report) -> None:
    several = isinstance(report.value(path), list)
    for index, secret in enumerate(secrets):
        _judge_one(secret, (*path, index) if several else path, report)


def _judge_one(secret: str, path: Path, report: Report) -> None:
    if len(secret) < SHORTEST_SECRET:
        message = f"a secret under {SHORTEST_SECRET} characters can be guessed"
        report.warn(path, message)


# --- stores --------------------------------------------------------------------------------------


def _redis(url: str, path: Path, around: Around, report: Report) -> str:
    if not report.sound(*path):
        return url
    if not redis_urls.is_redis(url):
        report.error(path, _IN_REDIS)
        return url
    return build_store(url, around.folder, report, path)


def _database(settings: DatabaseAcceptSettings, path: Path, around: Around, report: Report) -> str:
    url, where = settings.store, (*path, "store")
    if not report.sound(*where):
        return url
    given = settings.model_fields_set
    if redis_urls.is_redis(url):
        for name in ("db_schema", "tables", "columns"):
            if name in given:
                key = (*path, "schema" if name == "db_schema" else name)
                report.error(key, "the Upstash adapter keeps no tables", key=True)
        return build_store(url, around.folder, report, where)
    if "prefix" in given:
        report.error((*path, "prefix"), "keys have one, in Redis; tables have names", key=True)
    if url.startswith("sqlite:///"):
        if settings.db_schema == "pg":
            report.error((*path, "schema"), "expected drizzle or prisma with SQLite, not %v")
    elif postgres_urls.is_postgres(url):
        if settings.db_schema is None and report.sound(*path, "schema"):
            report.error((*path, "schema"), "this key is missing: prisma, drizzle or pg")
    else:
        expected = "expected postgresql://user@host/database, sqlite:///file or the URL of a Redis"
        report.error(where, expected)
        return url
    return build_store(url, around.folder, report, where)


def _tables(settings: DatabaseAcceptSettings, path: Path, report: Report) -> Tables | None:
    if redis_urls.is_redis(settings.store):
        return None
    tables = tables_of(settings.db_schema or "drizzle", settings.tables, settings.columns)
    more = _more_columns(settings, path, report)
    usual = ("roles",) if settings.roles is None and "roles" not in more else ()
    return replace(tables, more=more, maybe=usual)


def _more_columns(settings: DatabaseAcceptSettings, path: Path, report: Report) -> tuple[str, ...]:
    """Return the columns of a user that paths lead to, beside those that every adapter has."""
    more: dict[str, None] = {}
    for name in ("user", "roles", "permissions"):
        where = getattr(settings, name)
        if where is None or (name == "user" and where == "user"):
            continue
        root, _, rest = where.partition(".")
        if root != "user" or not rest:
            message = "a session in a table has a user and no more: expected user.COLUMN, not %v"
            report.error((*path, name), message)
        elif (column := rest.partition(".")[0]) not in USER:
            more[column] = None
    return tuple(more)
