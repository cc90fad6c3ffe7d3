"""The formats of sealed cookies, each with the secrets of one app."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from uuid import uuid4

from gateway.config.accepted import Accepted, Kind
from gateway.formats.foreign import Opened
from gateway.formats.npm_cookies import Flavour, value
from gateway.sources.sealed import Format


def format_of(config: Accepted) -> Format:
    """Return how the cookies of a source are opened. Brings cryptography along."""
    if config.kind is Kind.IRON:
        return _Iron(config)
    from gateway.formats import authjs, nextauth

    return _Jwt(nextauth if config.kind is Kind.NEXTAUTH else authjs, config)


class _Jwt:
    """NextAuth 4 and Auth.js 5: keys belong to a cookie's name."""

    def __init__(self, codec: ModuleType, config: Accepted) -> None:
        self._codec: Any = codec
        self._max_age = config.max_age
        self._keys = {name: codec.Keys(config.secrets, name) for name in config.cookies}

    def text(self, cookies: Mapping[str, bytes], name: str) -> str | None:
        flavour = self._codec.FLAVOUR
        mine = {
            cookie: value(raw, flavour)
            for cookie, raw in cookies.items()
            if cookie.startswith(name)
        }
        text: str | None = self._codec.pieces(mine, name) if mine else None
        return text

    def open(self, text: str, name: str, now: float) -> Opened:
        opened: Opened = self._codec.open(text, self._keys[name], now)
        return opened

    def sealed_anew(self, opened: Opened, name: str, now: float) -> dict[str, str]:
        codec = self._codec
        sealed = codec.seal(
            opened.claims,
            self._keys[name],
            now=now,
            max_age=self._max_age,
            jti=str(uuid4()),
            iv=os.urandom(codec.IV_BYTES),
        )
        pieces: dict[str, str] = codec.split(name, sealed)
        return pieces


class _Iron:
    """iron-session 8 and 9."""

    def __init__(self, config: Accepted) -> None:
        from gateway.formats import iron

        self._iron = iron
        self._passwords = config.passwords
        self._version: iron.Version = 8 if config.version == 8 else 9
        self._flavour = Flavour.UNQUOTING if self._version == 8 else Flavour.VERBATIM

    def text(self, cookies: Mapping[str, bytes], name: str) -> str | None:
        mine = {
            cookie: value(raw, self._flavour)
            for cookie, raw in cookies.items()
            if cookie.startswith(name)
        }
        return self._iron.pieces(mine, name, self._version) if mine else None

    def open(self, text: str, name: str, now: float) -> Opened:
        return self._iron.open(text, self._passwords, now, self._version)

    def sealed_anew(self, opened: Opened, name: str, now: float) -> dict[str, str]:
        return {}
