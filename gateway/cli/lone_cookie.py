"""Look into a cookie without a configuration: by its look, with a secret if there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex

from gateway.cli import accepted_cookie, own_cookie
from gateway.cli.findings import Finding, Verdict
from gateway.cli.pasted import Pasted, secret
from gateway.config.accepted import Accepted, Kind
from gateway.formats import authjs, guess
from gateway.rules.foreign import CLAIMS, OBJECT, Trust

_PIECE = re.compile(r"\.[0-9]{1,3}\Z")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_OWN_NAMES = ("gateway_session", "__Host-gateway_session", "__Secure-gateway_session")


async def inspect(pasted: Pasted, wanted: str | None) -> list[Finding]:
    """Say what cookies are.

    Args:
        wanted: Which format it is to be; None: what it looks like.
    """
    looks = list(_looks(pasted, wanted))
    # A token's secret is in its store alone.
    given = secret() if any(kind != Kind.DATABASE for _, _, kind in looks) else ""
    return [await _one(name, value, kind, pasted, given) for name, value, kind in looks]


def _looks(pasted: Pasted, wanted: str | None) -> Iterator[tuple[str, str, str]]:
    """Return cookies by their names, without those of pieces; what begins them; and whose."""
    if pasted.value:
        value = pasted.value.decode("latin-1")
        kind = wanted or guess.of_value(value)
        if kind is not None:
            yield "", value, kind
        return
    bases = dict.fromkeys(_PIECE.sub("", name) for name in pasted.cookies)
    for base in bases:
        start = pasted.cookies.get(base) or pasted.cookies.get(f"{base}.0", b"")
        value = start.decode("latin-1")
        kind = guess.of_value(value) or guess.of_name(base)
        if wanted is not None and (kind == wanted or len(bases) == 1):
            yield base, value, wanted
        elif wanted is None and kind is not None:
            yield base, value, kind


async def _one(name: str, value: str, kind: str, pasted: Pasted, secret: str) -> Finding:
    if kind == guess.GATEWAY:
        found = [own_cookie.with_secret(each, value, secret) for each in _names(name, _OWN_NAMES)]
    else:
        source = _source(Kind(kind), value, secret)
        names = _names(name, authjs.COOKIES if source.kind is Kind.AUTHJS else ("",))
        versions = (9, 8) if source.kind is Kind.IRON else (9,)
        found = [
            await accepted_cookie.inspect(
                replace(source, version=version), each, pasted, has_secret=bool(secret)
            )
            for each in names
            for version in versions
        ]
    best = next((one for one in found if one.verdict is Verdict.SESSION), found[0])
    return replace(best, source=None, cookie=name or (best.cookie if best.opened_by else ""))


def _names(name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a cookie may be called: with some formats its name goes into the key."""
    return (name,) if name else usual


def _source(kind: Kind, value: str, secret: str) -> Accepted:
    # Without a secret one is tried that nobody has: all that comes before it is told even so.
    secrets: tuple[str, ...] = (secret or token_hex(),)
    if kind is Kind.DATABASE or (kind is Kind.NEXT_SESSION and not secret):
        secrets = ()
    number = value.split("*", 2)[1] if value.count("*") > 1 else ""
    return Accepted(
        kind=kind,
        cookies=(),
        paths=CLAIMS if kind in (Kind.NEXTAUTH, Kind.AUTHJS) else OBJECT,
        trust=Trust(provider=kind),
        forward_to=frozenset(),
        secrets=secrets,
        passwords={number: secret} if secret and _NUMBER.fullmatch(number) else {},
    )
