"""Sessions of next-auth 4 with the JWT strategy: the whole session, encrypted, in a cookie.

``dir`` and ``A256GCM`` under a key derived from the secret. The cookie's name plays no part in it.
next-auth itself has one secret; several, so that one can be replaced, are an addition of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.formats import jwe, jwt_claims, next_chunks
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.npm_cookies import Flavour

COOKIES: tuple[str, ...] = ("next-auth.session-token", "__Secure-next-auth.session-token")
"""The names that it gives its cookie, under http and https."""
FLAVOUR = Flavour.UNQUOTING
IV_BYTES = 12
"""Random bytes that sealing once needs."""
PIECE = 3933
"""Characters of a value in one cookie."""

_INFO = b"NextAuth.js Generated Encryption Key"
_HEADER = jwe.header(alg="dir", enc=jwe.A256GCM)

pieces = next_chunks.pieces


class Keys:
    """The keys for one app: the first secret seals, all open."""

    __slots__ = ("ciphers",)

    def __init__(self, secrets: Sequence[str], cookie: str = "") -> None:
        """Derive the keys.

        Args:
            secrets: At least one.
            cookie: Of no account here, other than in Auth.js, whose keys are made alike.
        """
        self.ciphers = [AESGCM(_derive(secret)) for secret in secrets]


def open(value: str, keys: Keys, now: float) -> Opened:  # noqa: A001 - nextauth.open
    """Return what a cookie holds.

    Raises:
        Refused: It is no session of this app, or over.
    """
    token = jwe.parse(value)
    if token.header != _HEADER:
        _check_header(token.header)
    jwe.check_gcm(token)
    for number, cipher in enumerate(keys.ciphers):
        plaintext = jwe.open_gcm(token, cipher)
        if plaintext is not None:
            claims, expires_at = jwt_claims.read(plaintext, now)
            return Opened(claims, expires_at, number)
    raise Refused(Why.BAD_KEY, "sealed under a secret that is not configured, or changed")


def seal(
    claims: Mapping[str, Any], keys: Keys, *, now: float, max_age: float, jti: str, iv: bytes
) -> str:
    """Return the cookie's value that next-auth opens with the first secret.

    Args:
        max_age: Seconds.
        jti: A name for this token alone; next-auth uses a random UUID.
        iv: ``IV_BYTES`` random bytes.
    """
    plaintext = jwt_claims.written(claims, now=now, max_age=max_age, jti=jti)
    return jwe.seal_gcm(_HEADER, keys.ciphers[0], iv, plaintext)


def split(name: str, value: str) -> dict[str, str]:
    """Return the cookies that hold a value, by name."""
    return next_chunks.split(name, value, PIECE)


def _derive(secret: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret.encode())


def _check_header(text: str) -> None:
    """Take another spelling of the same two algorithms, with members that change nothing."""
    members = jwe.read_header(text)
    if members["alg"] != "dir" or members["enc"] != jwe.A256GCM:
        if members["enc"] == jwe.A256CBC_HS512 and "kid" in members:
            raise Refused(Why.WRONG_KIND, "a token of Auth.js 5, not of next-auth 4")
        raise Refused(Why.BAD_ALG, "sealed in a way that next-auth 4 never uses")
