"""Look into a cookie that another framework has issued."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.cli.findings import Finding, Verdict, opened_by, store_reasons, whom
from gateway.cli.pasted import Pasted
from gateway.config.accepted import Accepted, Kind
from gateway.errors import StoreUnavailable
from gateway.formats import (
    adapter,
    authjs,
    express,
    iron,
    next_chunks,
    next_session,
    nextauth,
    npm_cookies,
)
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.npm_cookies import Flavour
from gateway.model import Session, SessionKey
from gateway.rules.foreign import read_user
from gateway.rules.identity import isoformat

_WITHOUT = (Why.BAD_KEY, Why.BAD_TAG, Why.UNKNOWN_KEY, Why.BAD_MAC, Why.BAD_SIGNATURE)
"""What a cookie is refused as where nobody knows the secret."""


def names(source: Accepted, name: str) -> Callable[[str], bool]:
    """Return whether a cookie is one of a source's, pieces included."""
    if source.kind in (Kind.NEXTAUTH, Kind.AUTHJS):
        return lambda cookie: next_chunks.belongs(cookie, name)
    if source.kind is Kind.IRON:
        return iron.names(name, _version(source)).__contains__
    return name.__eq__


async def inspect(
    source: Accepted, name: str, pasted: Pasted, *, has_secret: bool = True, patience: float = 1.0
) -> Finding:
    """Say what a cookie is to a source.

    Args:
        name: One of the names that its cookie may have; a value without name counts as this one.
        has_secret: False: what the source has for secrets is none.
        patience: Seconds that a store may take to answer.
    """
    cookies = {
        cookie: npm_cookies.value(value, _flavour(source))
        for cookie, value in (pasted.cookies or {name: pasted.value}).items()
    }
    finding = Finding(format=source.kind, source=source.name, cookie=name, verdict=Verdict.SESSION)
    mine = names(source, name)
    if any(map(mine, pasted.twice)):
        return finding.refused(Why.MISSING, "is there twice, and nobody can say which one counts")
    try:
        if source.kind in (Kind.NEXTAUTH, Kind.AUTHJS, Kind.IRON):
            return _opened(finding, source, _open(source, name, cookies, time.time()))
        key, number = _key(source, cookies.get(name, ""))
    except Refused as refused:
        if not has_secret and refused.why in _WITHOUT:
            return finding.unknown("has the right shape; more can be told with the app's secret")
        return finding.refused(refused.why, str(refused))
    if number is not None:
        by = opened_by(source.secrets[number], number + 1, source.secrets)
        finding = replace(finding, opened_by=by)
    if not source.store:
        return finding.unknown("may be one: only the store knows, which a configuration names")
    try:
        return await _looked_up(finding, source, key, patience)
    except StoreUnavailable as error:
        return finding.unknown(str(error))


# --- the cookie ----------------------------------------------------------------------------------


def _open(source: Accepted, name: str, cookies: Mapping[str, str], now: float) -> Opened:
    if source.kind is Kind.IRON:
        version = _version(source)
        value = iron.pieces(cookies, name, version)
        if value is None:
            raise Refused(Why.MISSING, "there is no such cookie")
        return iron.open(value, source.passwords, now, version)
    value = next_chunks.pieces(cookies, name)
    if value is None:
        raise Refused(Why.MISSING, "there is no such cookie")
    if source.kind is Kind.NEXTAUTH:
        return nextauth.open(value, nextauth.Keys(source.secrets), now)
    return authjs.open(value, authjs.Keys(source.secrets, name), now)


def _key(source: Accepted, value: str) -> tuple[SessionKey, int | None]:
    """Return under what the store has it, and which secret signed it."""
    if source.kind is Kind.DATABASE:
        return SessionKey(adapter.token(value)), None
    if source.secrets:
        sid, number = express.signed(value, source.secrets)
        return SessionKey(sid), number
    return SessionKey(next_session.session_id(value)), None


def _opened(finding: Finding, source: Accepted, opened: Opened) -> Finding:
    if source.kind is Kind.IRON:
        password = source.passwords[str(opened.secret)]
        by = opened_by(password, opened.secret, tuple(source.passwords.values()))
    else:
        by = opened_by(source.secrets[opened.secret], opened.secret + 1, source.secrets)
    return _described(replace(finding, opened_by=by), source, opened.claims, opened.expires_at)


def _described(
    finding: Finding, source: Accepted, claims: Mapping[str, Any], expires_at: float | None
) -> Finding:
    read = read_user(claims, source.paths, source.trust)
    user = read.user
    return replace(
        finding,
        expires=None if expires_at is None else isoformat(round(expires_at - source.leeway, 3)),
        detail=None if user.id else "names no user: nobody is signed in",
        user=whom(user) if user.id else None,
        dropped=read.dropped,
        claims=dict(claims),
    )


def _flavour(source: Accepted) -> Flavour:
    match source.kind:
        case Kind.AUTHJS:
            return authjs.FLAVOUR
        case Kind.IRON:
            return iron.FLAVOUR[source.version]
        case _:
            return Flavour.UNQUOTING


def _version(source: Accepted) -> iron.Version:
    return 8 if source.version == 8 else 9


# --- the store -----------------------------------------------------------------------------------


class _Seen:
    """Notes what a store has, whether or not it is over."""

    payload: Mapping[str, Any] | None = None
    expires_at = 0.0

    def __call__(
        self, key: SessionKey, payload: Mapping[str, Any], *, touched_at: float, expires_at: float
    ) -> Session | None:
        self.payload, self.expires_at = payload, expires_at
        return None


def _long_ago() -> float:
    return 0.0


async def _looked_up(
    finding: Finding, source: Accepted, key: SessionKey, patience: float
) -> Finding:
    from gateway.sources.opening import store_of

    seen = _Seen()
    # To a clock that stands still long ago, nothing in a table is over. What lives by the time that
    # its key has left is asked by the true one.
    wall = _long_ago if source.kind is Kind.DATABASE else time.time
    reading = replace(source, touches=False)
    store = store_of(reading, seen, timeout=patience, wall=wall)
    with store_reasons() as reasons:
        try:
            await store.open()
            await store.load([key])
        finally:
            await store.close()
    if seen.payload is None:
        if reasons:
            return finding.refused(Why.BAD_ENTRY, reasons[0])
        return finding.refused(Why.NO_ENTRY, "the store knows no such session")
    described = _described(finding, source, seen.payload, seen.expires_at)
    if not time.time() < seen.expires_at:
        return described.refused(Why.EXPIRED, "its time has passed")
    return described
