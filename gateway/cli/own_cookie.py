"""Look into a cookie of the gateway's own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.cli.findings import Finding, OpenedBy, Verdict, opened_by, store_reasons, whom
from gateway.cli.pasted import Pasted
from gateway.errors import BadCookie, StoreUnavailable
from gateway.formats import guess
from gateway.formats.chunks import slots
from gateway.formats.foreign import Refused, Why

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.config.config import SessionConfig
    from gateway.model import Session
    from gateway.stores.secret_use import Counting

ENDED = "ended"
"""Why a sealed cookie that is in order is no session: the store says so."""


async def inspect(config: SessionConfig, pasted: Pasted) -> Finding:
    """Say what a cookie is to a gateway with this configuration."""
    name = config.cookie.name
    cookies = {
        cookie: value.decode("latin-1")
        for cookie, value in (pasted.cookies or {name: pasted.value}).items()
    }
    finding = Finding(format=guess.GATEWAY, cookie=name, verdict=Verdict.SESSION)
    if not pasted.twice.isdisjoint(slots(name)):
        return finding.refused(Why.MISSING, "is there twice, and nobody can say which one counts")
    if config.strategy == "jwt":
        finding = _unsealed(finding, config, cookies)
        if finding.verdict is not Verdict.SESSION:
            return finding
    if config.store.startswith("memory:"):
        return finding.unknown("a memory:// store lives inside the gateway's own process")
    try:
        return await _looked_up(finding, config, cookies)
    except StoreUnavailable as error:
        return finding.unknown(str(error))


def sealed_by(value: str, secrets: Sequence[str], name: str) -> OpenedBy | None:
    """Return which secret one of our own cookies says it is sealed under; None: none of these."""
    from gateway.formats.sealed import KeyRing

    under = guess.sealed_under(value)
    for number, secret in enumerate(secrets):
        if KeyRing([secret], name).first == under:
            return opened_by(secret, number + 1, secrets)
    return None


def with_secret(name: str, value: str, secret: str) -> Finding:
    """Say what a sealed cookie is to a gateway with this secret, as far as no store is asked."""
    from gateway.formats.sealed import KeyRing, unseal

    finding = Finding(format=guess.GATEWAY, cookie=name, verdict=Verdict.SESSION)
    if not secret:
        return finding.unknown("has the right shape; more can be told with session.secret")
    finding = replace(finding, opened_by=sealed_by(value, [secret], name))
    try:
        session = unseal(value, KeyRing([secret], name), now=time.time())
    except BadCookie as error:
        return finding.refused("bad_cookie", str(error))
    return _described(finding, session)


def _unsealed(finding: Finding, config: SessionConfig, cookies: Mapping[str, str]) -> Finding:
    from gateway.formats import chunks

    value = chunks.join(config.cookie.name, cookies)
    if not value:
        return finding.refused(Why.MISSING, "is not there, or its pieces are not of one cookie")
    if config.format == "gateway":
        finding = replace(finding, opened_by=sealed_by(value, config.secrets, config.cookie.name))
    else:
        try:
            finding = replace(finding, **_framework(config, value))
        except Refused as refused:
            return finding.refused(refused.why, str(refused))
    from gateway.server.strategies import seal_of

    try:
        session = seal_of(config).unseal(value, now=time.time())
    except BadCookie as error:
        return finding.refused("bad_cookie", str(error))
    return _described(finding, session)


def _framework(config: SessionConfig, value: str) -> dict[str, Any]:
    """Return what a token says that an app reads as well."""
    from gateway.formats import authjs, nextauth

    name = config.cookie.name
    if config.format == "nextauth":
        opened = nextauth.open(value, nextauth.Keys(config.secrets), time.time())
    else:
        opened = authjs.open(value, authjs.Keys(config.secrets, name), time.time())
    by = opened_by(config.secrets[opened.secret], opened.secret + 1, config.secrets)
    return {"opened_by": by, "claims": opened.claims}


async def _looked_up(
    finding: Finding, config: SessionConfig, cookies: Mapping[str, str]
) -> Finding:
    from gateway.server.strategies import kind_of
    from gateway.stores.codec import codec_for
    from gateway.stores.opening import open_store
    from gateway.stores.secret_use import Counting

    config = replace(config, cache=False)
    codec = Counting(codec_for(config.secrets, encrypt=config.encrypt))
    store = open_store(config.store, timeout=config.store_timeout, codec=codec, app=config.tables)
    strategy = kind_of(config, store, time.time)
    key = strategy.cookies(config).key(cookies)
    if key is None:
        return finding.refused(Why.MALFORMED, "is no token of ours")
    with store_reasons() as reasons:
        try:
            await store.open()
            held = await strategy.sessions.get(key)
        finally:
            await store.close()
    if held is not None:
        described = _described(finding, held.session)
        return replace(described, opened_by=described.opened_by or _kept_under(codec, config))
    if reasons:
        return finding.refused(Why.BAD_ENTRY, reasons[0])
    if config.strategy == "jwt":
        return finding.refused(ENDED, "is in order, but was ended, or exchanged for another")
    return finding.refused(Why.NO_ENTRY, "the store knows no such session, or it is over")


def _kept_under(codec: Counting, config: SessionConfig) -> OpenedBy | None:
    """Return which secret sealed what the store keeps of a session."""
    from gateway.stores.sealing import record_key_id

    kept = set(codec.under.values())
    for number, secret in enumerate(config.secrets):
        if record_key_id(secret) in kept:
            return opened_by(secret, number + 1, config.secrets)
    return None


def _described(finding: Finding, session: Session) -> Finding:
    from gateway.rules.described import described
    from gateway.rules.identity import isoformat

    user = session.user
    return replace(
        finding,
        expires=isoformat(session.expires_at),
        detail="nobody has signed in to it" if session.anonymous else None,
        user=None if session.anonymous else whom(user),
        session=described(session),
        claims=finding.claims if finding.claims is not None else dict(session.data),
    )
