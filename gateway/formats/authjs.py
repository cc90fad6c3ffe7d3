"""Sessions of Auth.js 5 with the JWT strategy: the whole session, encrypted, in a cookie.

``dir`` and ``A256CBC-HS512`` under a key derived from the secret and the cookie's name; the header
names the key. Tokens with ``A256GCM``, which its forerunners issued and it still opens, open too:
the same secret is needed, and nothing about them is weaker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.formats import jwe, jwt_claims, next_chunks
from gateway.formats.base64url import encode
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.npm_cookies import Flavour

COOKIES: tuple[str, ...] = ("authjs.session-token", "__Secure-authjs.session-token")
"""The names that it gives its cookie, under http and https."""
FLAVOUR = Flavour.VERBATIM
IV_BYTES = 16
"""Random bytes that sealing once needs."""
PIECE = 3936
"""Characters of a value in one cookie."""

_ENCRYPTIONS = (jwe.A256CBC_HS512, jwe.A256GCM)

pieces = next_chunks.pieces


class Keys:
    """The keys for one cookie of one app: the first secret seals, all open."""

    __slots__ = ("ciphers", "header", "keys", "known", "names")

    def __init__(self, secrets: Sequence[str], cookie: str) -> None:
        """Derive the keys.

        Args:
            secrets: At least one, the newest first.
            cookie: The cookie's exact name, prefix included.
        """
        self.keys = [_derive(secret, cookie) for secret in secrets]
        self.ciphers = [AESGCM(key[:32]) for key in self.keys]
        self.names: dict[tuple[str, str], int] = {}
        self.known: dict[str, int] = {}
        for number, key in reversed(list(enumerate(self.keys))):
            name = _thumbprint(key)
            self.names[jwe.A256CBC_HS512, name] = number
            self.names[jwe.A256GCM, _thumbprint(key[:32])] = number
            self.known[_header(name)] = number
        self.header = _header(_thumbprint(self.keys[0]))


def open(value: str, keys: Keys, now: float) -> Opened:  # noqa: A001 - authjs.open
    """Return what a cookie holds.

    Raises:
        Refused: It is no session of this app and cookie, or over.
    """
    token = jwe.parse(value)
    number = keys.known.get(token.header)
    encryption = jwe.A256CBC_HS512
    named = number is not None
    if number is None:
        encryption, number, named = _choose(token.header, keys)
    if encryption == jwe.A256CBC_HS512:
        jwe.check_cbc_hs512(token)
        plaintext = jwe.open_cbc_hs512(token, keys.keys[number])
    else:
        jwe.check_gcm(token)
        plaintext = jwe.open_gcm(token, keys.ciphers[number])
    if plaintext is None:
        if named:
            raise Refused(Why.BAD_TAG, "changed since it was sealed under one of the secrets")
        raise Refused(Why.BAD_KEY, "names no key, and the first secret does not open it")
    claims, expires_at = jwt_claims.read(plaintext, now)
    return Opened(claims, expires_at, number)


def seal(
    claims: Mapping[str, Any], keys: Keys, *, now: float, max_age: float, jti: str, iv: bytes
) -> str:
    """Return the cookie's value that Auth.js opens with the first secret.

    Args:
        max_age: Seconds.
        jti: A name for this token alone; Auth.js uses a random UUID.
        iv: ``IV_BYTES`` random bytes.
    """
    plaintext = jwt_claims.written(claims, now=now, max_age=max_age, jti=jti)
    return jwe.seal_cbc_hs512(keys.header, keys.keys[0], iv, plaintext)


def split(name: str, value: str) -> dict[str, str]:
    """Return the cookies that hold a value, by name."""
    return next_chunks.split(name, value, PIECE)


def _choose(header: str, keys: Keys) -> tuple[str, int, bool]:
    """Return encryption and key for a header in another spelling, and whether it names the key."""
    members = jwe.read_header(header)
    encryption = members["enc"]
    if members["alg"] != "dir" or encryption not in _ENCRYPTIONS:
        raise Refused(Why.BAD_ALG, "sealed in a way that Auth.js never uses")
    if "kid" not in members:
        return encryption, 0, False  # as Auth.js: such a token is under the first secret
    name = members["kid"]
    number = keys.names.get((encryption, name)) if isinstance(name, str) else None
    if number is None:
        raise Refused(Why.BAD_KEY, "names a key of another secret, or of another cookie")
    return encryption, number, True


def _derive(secret: str, cookie: str) -> bytes:
    # 64 bytes; the first half of them is what 32 would be (RFC 5869 section 2.3).
    info = f"Auth.js Generated Encryption Key ({cookie})".encode()
    kdf = HKDF(algorithm=SHA256(), length=64, salt=cookie.encode(), info=info)
    return kdf.derive(secret.encode())


def _thumbprint(key: bytes) -> str:
    """Return the name of a key (RFC 7638), with the hash that Auth.js takes for its length."""
    canonical = f'{{"k":"{encode(key)}","kty":"oct"}}'.encode()
    return encode((sha512 if len(key) == 64 else sha256)(canonical).digest())


def _header(name: str) -> str:
    return jwe.header(alg="dir", enc=jwe.A256CBC_HS512, kid=name)
