"""Every format with what its package made: the apps of the vectors, and their cookies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from gateway.errors import BadCookie
from gateway.formats import (
    adapter,
    authjs,
    express,
    iron,
    jwt_claims,
    next_csrf,
    next_session,
    nextauth,
    token,
)
from gateway.formats.foreign import Refused
from gateway.formats.npm_cookies import Flavour, value
from gateway.formats.sealed import NONCE_BYTES, KeyRing, key_for, seal, unseal
from gateway.model import SealedSession, SessionId, User
from gateway.rules.cookies import parse_all
from tests.formats.foreign_vectors import Vector, load
from tests.fuzz.running import Subject

NOW = 1_795_200_000.0
STRANGE = "a secret of which none of these packages ever heard"

Cookies = Mapping[str, str]


def targets() -> dict[str, list[Subject]]:
    """Return the subjects of every format, by its name."""
    return {
        "nextauth": _jwt("next-auth-v4-jwt", nextauth),
        "authjs": _jwt("authjs-v5-jwt", authjs),
        "jwt claims": [_claims()],
        "next-auth csrf": _csrf("next-auth-v4-csrf", Flavour.UNQUOTING),
        "authjs csrf": _csrf("authjs-v5-csrf", Flavour.VERBATIM),
        "iron-session 8": _iron(8),
        "iron-session 9": _iron(9),
        "express-session": _ids("express-session-redis", express.session_id),
        "express-session entry": [_entries("express-session-redis", express.entry)],
        "next-session": _ids("next-session-redis", next_session.session_id),
        "next-session entry": [_entries("next-session-redis", next_session.entry)],
        "upstash session": [_upstash()],
        "own sealed session": [_own_sealed()],
        "own token": [Subject(_latin, _own_token, [b"A" * 43, b"-_" * 21 + b"A"], forgeable=True)],
    }


def _jwt(name: str, codec: ModuleType) -> list[Subject]:
    def read(vector: Vector) -> Callable[[Cookies], Any]:
        cookie = vector["cookie_name"]
        keys = codec.Keys(vector["secrets"], cookie)

        def opened(cookies: Cookies) -> Any:
            found = codec.pieces(cookies, cookie)
            if found is not None:
                codec.open(found, keys, NOW)
            # The text and not its claims: another spelling of the same would be another cookie.
            return found

        return opened

    return _apps(name, codec.FLAVOUR, read)


def _claims() -> Subject:
    """Whatever an app may seal: what comes out can be written again."""
    samples = [
        json.dumps(vector["expected"]["claims"]).encode()
        for vector in load("next-auth-v4-jwt")
        if vector["kind"] == "valid"
    ]

    def read(text: bytes) -> Any:
        claims, expires_at = jwt_claims.read(text, NOW)
        json.dumps(claims, ensure_ascii=False, allow_nan=False).encode()
        assert NOW < expires_at < 1e12
        return claims

    return Subject(bytes, _refusing(read), samples, forgeable=True, timed=False)


def _csrf(name: str, flavour: Flavour) -> list[Subject]:
    def read(vector: Vector) -> Callable[[Cookies], Any]:
        def checked(cookies: Cookies) -> Any:
            cookie = cookies.get(vector["cookie_name"], "")
            # The form of somebody who has planted the cookie says what the cookie says.
            return next_csrf.check(cookie, cookie.partition("|")[0], vector["secrets"])

        return checked

    return _apps(name, flavour, read)


def _iron(version: iron.Version) -> list[Subject]:
    def read(vector: Vector) -> Callable[[Cookies], Any]:
        def opened(cookies: Cookies) -> Any:
            seal = iron.pieces(cookies, vector["cookie_name"], version)
            passwords = vector["config"]["passwords"]
            return None if seal is None else iron.open(seal, passwords, NOW, version).claims

        return opened

    return _apps(f"iron-session-v{version}", iron.FLAVOUR[version], read)


def _ids(name: str, session_id: Callable[[str, Sequence[str]], str]) -> list[Subject]:
    def read(vector: Vector) -> Callable[[Cookies], Any]:
        def checked(cookies: Cookies) -> Any:
            return session_id(cookies.get(vector["cookie_name"], ""), vector["secrets"])

        return checked

    return _apps(name, Flavour.UNQUOTING, read)


def _entries(name: str, entry: Callable[[bytes], Any]) -> Subject:
    samples = _stored(name)

    def read(text: bytes) -> Any:
        found = entry(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        return found

    return Subject(bytes, _refusing(read), samples, forgeable=True, timed=False)


def _upstash() -> Subject:
    samples = _stored("next-auth-db-upstash")

    def read(text: bytes) -> Any:
        with suppress(Refused):
            adapter.user_of_json(text, "1")
        kept = adapter.session_of_json(text, "token")
        raise AssertionError(f"a session under another token: {kept!r}")

    return Subject(bytes, _refusing(read), samples, forgeable=True, timed=False)


def _own_sealed() -> Subject:
    ring = KeyRing([STRANGE], "session")
    session = SealedSession(
        key=key_for(b"handle"), id=SessionId("id"), user=User(id="ada", provider="corp"),
        created_at=NOW, ends_at=NOW + 60, touched_at=NOW, expires_at=NOW + 60, since=NOW,
        handle=b"handle",
    )  # fmt: skip

    def read(text: str) -> str | None:
        try:
            unseal(text, ring, now=NOW)
        except BadCookie:
            return None
        return text

    samples = [seal(session, ring, bytes([n] * NONCE_BYTES)).encode() for n in range(5)]
    return Subject(_latin, read, samples)


def _latin(text: bytes) -> str:
    return text.decode("latin-1")


def _own_token(text: str) -> str | None:
    return token.key_of(text) or token.key_of_any(text)


def _stored(name: str) -> list[bytes]:
    return [
        entry["value"].encode("utf-8", "surrogatepass")
        for vector in load(name)
        for entry in vector["store_entries"]
        if isinstance(entry.get("value"), str)
    ]


def _apps(
    name: str, flavour: Flavour, read: Callable[[Vector], Callable[[Cookies], Any]]
) -> list[Subject]:
    """Return a subject for each app, that is for each list of secrets and cookie's name.

    Those that the package refused are put to an app that sealed none of them: of some the original
    can be guessed, which would open.
    """
    parse = _header_parser(flavour)
    apps: dict[str, list[Vector]] = {}
    refused: list[Vector] = []
    for vector in load(name):
        if vector["kind"] == "valid" or not vector["secrets"]:
            passwords = vector["config"].get("passwords")
            app = json.dumps([vector["secrets"], passwords, vector["cookie_name"]])
            apps.setdefault(app, []).append(vector)
        else:
            refused.append(vector)
    subjects = [
        Subject(
            parse,
            _refusing(read(vectors[0])),
            [_header(vector) for vector in vectors],
            forgeable=not vectors[0]["secrets"],
            genuine=[text for vector in vectors for text in _genuine(vector)],
        )
        for vectors in apps.values()
    ]
    if refused:
        stranger = {**refused[0], "secrets": [STRANGE], "cookie_name": _usual_name(refused)}
        if "passwords" in stranger["config"]:
            stranger["config"] = {"passwords": {"1": STRANGE, "2": STRANGE + "2"}}
        headers = [_header(vector) for vector in refused]
        subjects.append(Subject(parse, _refusing(read(stranger)), headers))
    return subjects


def _header(vector: Vector) -> bytes:
    return str(vector["cookie_header"]).encode("latin-1")


def _usual_name(vectors: list[Vector]) -> str:
    names = [str(vector["cookie_name"]) for vector in vectors]
    return max(names, key=names.count)


def _genuine(vector: Vector) -> list[bytes]:
    """Return the cookies without one of them, and each of them alone as the session's."""
    parts = _header(vector).split(b"; ")
    name = vector["cookie_name"].encode()
    alone = [name + b"=" + part.partition(b"=")[2] for part in parts]
    return [
        *(b"; ".join(parts[:at] + parts[at + 1 :]) for at in range(len(parts))),
        *alone,
        # iron-session says behind the seal which layout the content has: nothing protects that.
        *(cookie.partition(b"~")[0] + layout for cookie in alone for layout in (b"", b"~1", b"~2")),
    ]


def _header_parser(flavour: Flavour) -> Callable[[bytes], dict[str, str]]:
    def parsed(header: bytes) -> dict[str, str]:
        cookies = parse_all([header]).items()
        return {name: value(raw.encode("latin-1"), flavour) for name, raw in cookies}

    return parsed


def _refusing(read: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    """Make None of what is refused as documented, and text of what opens."""

    def told(given: Any) -> str | None:
        try:
            found = read(given)
        except Refused:
            return None
        return None if found is None else json.dumps(found, sort_keys=True)

    return told
