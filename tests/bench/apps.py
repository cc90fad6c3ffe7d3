"""Apps that sign people in by themselves, as far as their cookies go.

Each cookie is another session of Ada's. A gateway that has just been started has seen none of them.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import count
from types import ModuleType
from typing import Literal
from uuid import uuid4

from redis import Redis

from gateway.formats import authjs, nextauth
from tests.formats.test_iron import sealed
from tests.integration.accepting import Shop

AppName = Literal["nextauth", "authjs", "iron-session", "express-session"]

_SECRET = "of an app, for measurements only: 32 characters"
_LIFE = 86400
_CLAIMS = {
    "sub": "ada",
    "name": "Ada",
    "email": "ada@example.com",
    "picture": "https://example.com/ada.png",
    "roles": ["member", "reader"],
}
_KEPT = {
    "user": {"id": "ada", "name": "Ada", "email": "ada@example.com"},
    "roles": ["member", "reader"],
}
_TOGETHER = 1000


class App:
    """An app; iterating over it gives values of ``Cookie``, the same ones each time.

    Args:
        accept: Its entry of ``session.accept``.
        make: Makes so many cookies.
    """

    def __init__(self, accept: str, make: Callable[[int], list[str]]) -> None:
        self.accept = accept
        self._make = make
        self._made: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for number in count():
            if number == len(self._made):
                self._made += [f"theme=dark; {one}" for one in self._make(_TOGETHER)]
            yield self._made[number]


@cache
def app(name: AppName, redis: str) -> App:
    """Return the app of this name.

    Args:
        redis: The URL of its store, if it has one.
    """
    match name:
        case "nextauth":
            return App(f'{{type: nextauth, secret: "{_SECRET}"}}', partial(_jwts, nextauth))
        case "authjs":
            return App(f'{{type: authjs, secret: "{_SECRET}"}}', partial(_jwts, authjs))
        case "iron-session":
            accept = f'{{type: iron-session, cookie: iron, password: "{_SECRET}"}}'
            return App(accept, _irons)
        case "express-session":
            accept = f'{{type: express-session, secret: "{_SECRET}", store: "{redis}"}}'
            return App(accept, partial(_kept, Redis.from_url(redis)))


def _jwts(codec: ModuleType, number: int) -> list[str]:
    name = codec.COOKIES[0]
    keys = codec.Keys([_SECRET], name)
    now = time.time()

    def value() -> str:
        jti, iv = str(uuid4()), os.urandom(codec.IV_BYTES)
        sealed: str = codec.seal(_CLAIMS, keys, now=now, max_age=_LIFE, jti=jti, iv=iv)
        return sealed

    return [f"{name}={value()}" for _ in range(number)]


def _irons(number: int) -> list[str]:
    # Random, for its salts must differ from those of every other call.
    ends = time.time() + _LIFE
    return [
        f"iron={sealed(_KEPT, password=_SECRET, expires=ends, number=secrets.randbits(128))}"
        for _ in range(number)
    ]


def _kept(redis: Redis, number: int) -> list[str]:
    ids = [secrets.token_urlsafe(24) for _ in range(number)]
    cookie = {"originalMaxAge": _LIFE * 1000, "expires": None, "httpOnly": True, "path": "/"}
    entry = json.dumps({"cookie": cookie, **_KEPT})
    with redis.pipeline(transaction=False) as together:
        for each in ids:
            together.set(f"sess:{each}", entry, ex=_LIFE)
        together.execute()
    return [Shop.cookie(each, _SECRET) for each in ids]
