"""iron-session 8 and 9: the session itself, encrypted in the app's own cookie.

A seal is ``Fe26.2*id*salt*iv*ciphertext*expiration*salt*mac``, and ``~2`` follows. The id says
which password it was. From password and salts come two keys, for AES-256-CBC and for HMAC-SHA256,
by PBKDF2 with a single turn: the salts are new in every seal, so that no key can be kept.

The versions differ in what they make of a suffix, of an expiration, and of cookies cut in pieces;
each is read by its own rules. Of several spellings of one seal that they take, the one that they
issue counts. What follows the MAC is not authenticated, and version 9 passes over it.

Source: iron-session 8.0.4 with iron-webcrypto 1.2.1, iron-session 9.0.1 with iron-webcrypto 2.0.0.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import pbkdf2_hmac
from hmac import compare_digest
from hmac import digest as hmac
from typing import Any, Literal

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.formats import base64url, objects
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.npm_cookies import Flavour

Version = Literal[8, 9]

FLAVOUR = {8: Flavour.UNQUOTING, 9: Flavour.VERBATIM}
MOST_PIECES = 4
"""Cookies that version 9 cuts a seal into."""
LONGEST = {8: 4096, 9: MOST_PIECES * 4096}
"""Characters of a seal: as much as browsers keep."""
SKEW = 60.0
"""Seconds that a seal is good for after its expiration."""

_PREFIX = "Fe26.2"
_PARTS = 8
_BLOCK = 16
_KEY_BYTES = 32
_MAC_LENGTH = 43
_LAST_SECOND = 253402300799.0
"""The end of the year 9999: no calendar here knows a later one."""

# Hexadecimal as issued, but taken as text: other makers of seals may spell theirs otherwise.
_SALT = re.compile(r"[!-~]{1,256}")
# Sixteen digits of milliseconds are beyond the last date that JavaScript knows.
_EXPIRATION = {8: re.compile(r"[0-9]{0,16}"), 9: re.compile(r"(?:[1-9][0-9]{0,15})?")}
_VERSION = re.compile(r"[0-9]{1,3}")


def names(name: str, version: Version) -> tuple[str, ...]:
    """Return every cookie in which something of a session may be."""
    if version == 8:
        return (name,)
    return (name, *(f"{name}.{number}" for number in range(MOST_PIECES)))


def pieces(cookies: Mapping[str, str], name: str, version: Version) -> str | None:
    """Return the seal that cookies hold; None where there is none.

    A whole one wins over pieces; these end at the first that is not there, whatever follows. With
    version 9 all that it passes over is gone: so what opens has one spelling, and whoever remembers
    it by its text remembers it once.

    Args:
        cookies: By name; others are passed over. One that came twice must not be among them.

    Raises:
        Refused: The first piece is missing.
    """
    whole, *slots = [cookies.get(slot, "") for slot in names(name, version)]
    if not whole:
        there = next((at for at, piece in enumerate(slots) if not piece), len(slots))
        whole = "".join(slots[:there])
    if whole:
        # A seal that is cut off before it begins is refused when it is opened.
        return whole if version == 8 else whole.partition("~")[0] or whole
    if any(slots):
        raise Refused(Why.BAD_CHUNKS, "the first piece is missing")
    return None


def open(  # noqa: A001 - iron.open
    value: str, passwords: Mapping[str, str], now: float, version: Version = 9
) -> Opened:
    """Return what a seal holds.

    Args:
        value: As ``pieces`` gives it.
        passwords: By id: a whole number in decimal.

    Raises:
        Refused: It is no seal, is over, is under no password of these, was changed, or holds no
            session. What can be told without computing anything comes first.
    """
    sealed, suffix = _cut(value, version)
    parts = sealed.split("*")
    if len(parts) != _PARTS:
        raise Refused(Why.MALFORMED, f"has {len(parts)} parts instead of {_PARTS}")
    prefix, key_id, salt, iv, ciphertext, expiration, mac_salt, mac = parts
    if prefix != _PREFIX:
        raise Refused(Why.MALFORMED, f"does not begin with {_PREFIX}")
    expires_at = _expires_at(expiration, version)
    if expires_at is not None and not now < expires_at:
        raise Refused(Why.EXPIRED, "its time has passed")
    password = passwords.get(key_id)
    if password is None:
        raise Refused(Why.UNKNOWN_KEY, "made under the id of a password that is not configured")
    if _SALT.fullmatch(salt) is None or _SALT.fullmatch(mac_salt) is None:
        raise Refused(Why.MALFORMED, "a salt is missing, or is none")
    secret = password.encode()
    signed = sealed[: len(sealed) - len(mac_salt) - len(mac) - 2]
    made = hmac(_key(secret, mac_salt), signed.encode(), "sha256")
    # Compared as text: another spelling of the same bytes is not what they issue.
    if not compare_digest(urlsafe_b64encode(made)[:_MAC_LENGTH], mac.encode()):
        raise Refused(Why.BAD_MAC, "was changed, or is made with another password of that id")
    claims = objects.read(_decrypted(secret, salt, iv, ciphertext), Why.BAD_PAYLOAD, "its content")
    if version == 8 and suffix != "2":
        claims = _persistent(claims)
    if not claims:
        raise Refused(Why.BAD_PAYLOAD, "an empty session: nobody is signed in")
    return Opened(claims, expires_at, int(key_id))


def _cut(value: str, version: Version) -> tuple[str, str]:
    """Return a seal, and which version its suffix says."""
    if not value:
        raise Refused(Why.MISSING, "the cookie is empty")
    if len(value) > LONGEST[version]:
        raise Refused(Why.TOO_LARGE, f"has more than {LONGEST[version]} characters")
    sealed, tilde, suffix = value.partition("~")
    if not sealed.isascii():
        raise Refused(Why.MALFORMED, "holds more than ASCII")
    if version == 8 and tilde and _VERSION.fullmatch(suffix) is None:
        raise Refused(Why.MALFORMED, "ends in no version")
    return sealed, suffix


def _expires_at(expiration: str, version: Version) -> float | None:
    if _EXPIRATION[version].fullmatch(expiration) is None:
        raise Refused(Why.MALFORMED, "its expiration is no time in milliseconds")
    return min(int(expiration) / 1000 + SKEW, _LAST_SECOND) if expiration else None


def _decrypted(secret: bytes, salt: str, iv: str, ciphertext: str) -> bytes:
    try:
        start, encrypted = base64url.decode(iv), base64url.decode(ciphertext)
    except ValueError as exc:
        raise Refused(Why.MALFORMED, "what is encrypted is not base64url") from exc
    if len(start) != _BLOCK:
        raise Refused(Why.MALFORMED, f"an initialization vector that is not {_BLOCK} bytes long")
    if not encrypted or len(encrypted) % _BLOCK:
        raise Refused(Why.BAD_PADDING, "what is encrypted is cut off")
    decryptor = Cipher(AES256(_key(secret, salt)), CBC(start)).decryptor()
    padded = decryptor.update(encrypted) + decryptor.finalize()
    # It is authentic by now: how long this takes tells nobody anything.
    length = padded[-1]
    if not 1 <= length <= _BLOCK or padded[-length:] != bytes((length,)) * length:
        raise Refused(Why.BAD_PADDING, "what is encrypted does not end as it must")
    return padded[:-length]


def _persistent(claims: dict[str, Any]) -> dict[str, Any]:
    """Return where iron-session before 7 kept the session; version 8 still reads it."""
    kept = claims.get("persistent")
    return kept if isinstance(kept, dict) else {}


def _key(secret: bytes, salt: str) -> bytes:
    return pbkdf2_hmac("sha1", secret, salt.encode(), 1, _KEY_BYTES)
