"""Compact JWE (RFC 7516) with a shared key, the two encryptions that NextAuth and Auth.js issue.

Nothing is negotiated: a token says how it is sealed, and it is opened like that or not at all. No
key wrapping, no passwords, no compression: none is ever issued, and each is a way to make the
reader work.
"""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.formats.base64url import decode, encode
from gateway.formats.foreign import Refused, Why

A256GCM = "A256GCM"
A256CBC_HS512 = "A256CBC-HS512"
LONGEST = 48 * 1024
"""Characters of a token that are looked at."""

_LONGEST_HEADER = 1024
_SEGMENTS = 5
_BLOCK = 16
# `crit` and `zip` change what the rest means. The others repeat claims, and JOSE libraries differ
# in whether they must agree; nobody issues them here.
_REFUSED_MEMBERS = ("crit", "zip", "iss", "sub", "aud")


class Compact(NamedTuple):
    """A token taken apart."""

    header: str
    """As it stands in the token: what the tag covers."""
    iv: bytes
    ciphertext: bytes
    tag: bytes


def parse(value: str) -> Compact:
    """Take a token apart.

    Raises:
        Refused: It has another shape.
    """
    if len(value) > LONGEST:
        raise Refused(Why.TOO_LARGE, f"more than {LONGEST} characters")
    segments = value.split(".", _SEGMENTS)
    if len(segments) != _SEGMENTS:
        raise _other_shape(segments)
    header, key, iv, ciphertext, tag = segments
    if not header:
        raise Refused(Why.MALFORMED, "an encrypted token without a header")
    if key:
        if read_header(header)["alg"] == "dir":
            raise Refused(Why.MALFORMED, "a key of its own, where the shared one is used")
        raise Refused(Why.BAD_ALG, "sealed under a key of its own")
    try:
        return Compact(header, decode(iv), decode(ciphertext), decode(tag))
    except ValueError as exc:
        raise Refused(Why.MALFORMED, "a segment that is not base64url") from exc


def read_header(text: str) -> dict[str, Any]:
    """Return the members of a header: it names both algorithms, and asks for nothing beyond.

    Raises:
        Refused: It does not.
    """
    if len(text) > _LONGEST_HEADER:
        raise Refused(Why.MALFORMED, f"a header of more than {_LONGEST_HEADER} characters")
    try:
        members = msgspec.json.decode(decode(text))
    except (ValueError, RecursionError) as exc:
        raise Refused(Why.MALFORMED, "a header that is no JSON in base64url") from exc
    if not isinstance(members, dict):
        raise Refused(Why.MALFORMED, "a header that is no JSON object")
    for name in ("alg", "enc"):
        if not isinstance(members.get(name), str):
            if name == "enc" and members.get("alg") == "none":
                raise Refused(Why.WRONG_KIND, "an unsigned token")
            raise Refused(Why.BAD_ALG, f"a header without {name}")
    for name in _REFUSED_MEMBERS:
        if name in members:
            raise Refused(Why.BAD_ALG, f"a header with {name}, which the framework never issues")
    return members


def header(**members: str) -> str:
    """Return a header segment, its members in their order."""
    return encode(msgspec.json.encode(members))


def check_gcm(token: Compact) -> None:
    """Raise Refused where initialization vector or tag are not as long as A256GCM has them."""
    _check_lengths(token, iv=12, tag=16)


def open_gcm(token: Compact, key: AESGCM) -> bytes | None:
    """Return what A256GCM sealed; None: another key did, or it was changed."""
    try:
        return key.decrypt(token.iv, token.ciphertext + token.tag, token.header.encode())
    except InvalidTag:
        return None


def seal_gcm(header_text: str, key: AESGCM, iv: bytes, plaintext: bytes) -> str:
    """Return the token that holds a text; ``iv`` is 12 bytes that the key never sees again."""
    sealed = key.encrypt(iv, plaintext, header_text.encode())
    return f"{header_text}..{encode(iv)}.{encode(sealed[:-16])}.{encode(sealed[-16:])}"


def check_cbc_hs512(token: Compact) -> None:
    """Raise Refused where a length is not as A256CBC-HS512 has it."""
    _check_lengths(token, iv=_BLOCK, tag=32)
    if not token.ciphertext or len(token.ciphertext) % _BLOCK:
        raise Refused(Why.BAD_TAG, "a ciphertext that is not of whole blocks")


def open_cbc_hs512(token: Compact, key: bytes) -> bytes | None:
    """Return what A256CBC-HS512 sealed; None: another key did, or it was changed.

    The tag is checked before anything is decrypted, so that no padding is ever an oracle.

    Source: RFC 7518 section 5.2.2.2.
    """
    if not hmac.compare_digest(_tag(token.header, token.iv, token.ciphertext, key), token.tag):
        return None
    cipher = Cipher(algorithms.AES(key[32:]), modes.CBC(token.iv)).decryptor()
    padded = cipher.update(token.ciphertext) + cipher.finalize()
    length = padded[-1]
    if not 1 <= length <= _BLOCK or padded[-length:] != bytes([length]) * length:
        return None
    return padded[:-length]


def seal_cbc_hs512(header_text: str, key: bytes, iv: bytes, plaintext: bytes) -> str:
    """Return the token that holds a text; ``iv`` is 16 random bytes."""
    length = _BLOCK - len(plaintext) % _BLOCK
    cipher = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).encryptor()
    ciphertext = cipher.update(plaintext + bytes([length]) * length) + cipher.finalize()
    tag = _tag(header_text, iv, ciphertext, key)
    return f"{header_text}..{encode(iv)}.{encode(ciphertext)}.{encode(tag)}"


def _tag(header_text: str, iv: bytes, ciphertext: bytes, key: bytes) -> bytes:
    aad = header_text.encode()
    bits = (len(aad) * 8).to_bytes(8, "big")
    return hmac.digest(key[:32], aad + iv + ciphertext + bits, "sha512")[:32]


def _check_lengths(token: Compact, *, iv: int, tag: int) -> None:
    if len(token.iv) != iv:
        raise Refused(Why.MALFORMED, f"an initialization vector that is not {iv} bytes long")
    if len(token.tag) != tag:
        raise Refused(Why.BAD_TAG, f"an authentication tag that is not {tag} bytes long")


def _other_shape(segments: list[str]) -> Refused:
    if len(segments) == 3 and all(segments[:2]):
        return Refused(Why.WRONG_KIND, "a signed token, where encrypted ones are issued")
    if len(segments) == 1:
        return Refused(Why.WRONG_KIND, "no token at all: a session id, or another cookie's value")
    return Refused(Why.MALFORMED, f"not the {_SEGMENTS} segments of an encrypted token")
