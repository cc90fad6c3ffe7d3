"""Changes to a text that a parser should survive: blind ones, and some that know cookies."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from random import Random

LONGEST = 64 * 1024
"""Bytes: what the gateway takes as one header field, and a little less."""

_ODD = (
    b"", b"\x00", b" ", b"\t", b"\r\n", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"%", b"%00",
    b"%2E", b"%FF", b"%ed%a0%80", b'"', b"\\", b"=", b"==", b".", b"..", b"*", b"~", b"~2", b"|",
    b":", b";", b",", b"-", b"+", b"/", b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b"[]",
    b"{}", b"{", b"[", b'"\\ud800"', b"9" * 20, b"9" * 400, b"__proto__", b"constructor", b"s:",
    b"s%3A", b"Fe26.2*",
)  # fmt: skip
_SEPARATORS = (b".", b"*", b";", b"|", b"=", b",", b":", b"~")

Change = Callable[[bytes, Random], bytes]


def mutated(samples: Sequence[bytes], random: Random) -> bytes:
    """Return one of the samples with a few changes, or parts of two, or no more than bytes."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(300))
    text = random.choice(samples)
    if random.random() < 0.2:
        text = _spliced(text, random.choice(samples), random)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        text = random.choice(_CHANGES)(text, random)[:LONGEST]
    return text


def _span(text: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(text) + 1)
    length = random.choice((1, 2, 4, 16, 64, len(text)))
    return start, min(len(text), start + random.randrange(length + 1))


def _replace_byte(text: bytes, random: Random) -> bytes:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.randbytes(1) + text[at + 1 :]


def _replace_alike(text: bytes, random: Random) -> bytes:
    """Replace a character by one that occurs in there: often still of the right alphabet."""
    if not text:
        return text
    at = random.randrange(len(text))
    return text[:at] + bytes([random.choice(text)]) + text[at + 1 :]


def _flip_bit(text: bytes, random: Random) -> bytes:
    if not text:
        return text
    at = random.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << random.randrange(8)]) + text[at + 1 :]


def _delete(text: bytes, random: Random) -> bytes:
    start, end = _span(text, random)
    return text[:start] + text[end:]


def _insert_odd(text: bytes, random: Random) -> bytes:
    start, end = _span(text, random)
    return text[:start] + random.choice(_ODD) + text[random.choice((start, end)) :]


def _repeat(text: bytes, random: Random) -> bytes:
    start, end = _span(text, random)
    times = random.choice((2, 2, 3, 50, LONGEST // max(1, end - start)))
    return text[:start] + text[start:end] * times + text[end:]


def _move(text: bytes, random: Random) -> bytes:
    start, end = _span(text, random)
    rest = text[:start] + text[end:]
    at = random.randrange(len(rest) + 1)
    return rest[:at] + text[start:end] + rest[at:]


def _truncate(text: bytes, random: Random) -> bytes:
    return text[: random.randrange(len(text) + 1)]


def _escape(text: bytes, random: Random) -> bytes:
    """Percent-encode a character or all, as some clients do."""
    start, end = _span(text, random)
    return text[:start] + b"".join(b"%%%02X" % octet for octet in text[start:end]) + text[end:]


def _shuffle_parts(text: bytes, random: Random) -> bytes:
    separator = random.choice(_SEPARATORS)
    parts = text.split(separator)
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    if random.random() < 0.5:
        parts[one], parts[other] = parts[other], parts[one]
    else:
        parts[one] = random.choice((b"", parts[other], parts[one] + separator + parts[one]))
    return separator.join(parts)


def _change_encoded(text: bytes, random: Random) -> bytes:
    """Change what a part says in base64url: headers, vectors, signatures."""
    separator = random.choice((b".", b"*"))
    parts = text.split(separator)
    at = random.randrange(len(parts))
    # A cookie's name stands in front of its first part.
    name, equals, part = parts[at].rpartition(b"=")
    try:
        raw = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        return text
    changed = random.choice(_BLIND)(raw, random)
    parts[at] = name + equals + urlsafe_b64encode(changed).rstrip(b"=")
    return separator.join(parts)


def _spliced(one: bytes, other: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        separator = random.choice(_SEPARATORS)
        parts, others = one.split(separator), other.split(separator)
        parts[random.randrange(len(parts))] = random.choice(others)
        return separator.join(parts)
    return one[: random.randrange(len(one) + 1)] + other[random.randrange(len(other) + 1) :]


_BLIND: Sequence[Change] = (
    _replace_byte, _replace_alike, _flip_bit, _delete, _insert_odd, _repeat, _move, _truncate,
)  # fmt: skip
_CHANGES: Sequence[Change] = (*_BLIND, _escape, _shuffle_parts, _change_encoded)
