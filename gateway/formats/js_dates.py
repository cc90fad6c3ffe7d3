"""Moments as JavaScript and databases write them: whole milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import floor

LAST = 8_640_000_000_000_000
"""The last millisecond that a JavaScript ``Date`` can be; the first is as far before 1970."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_TEXT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


def now_ms(now: float) -> int:
    """Return Unix seconds as ``Date.now()`` says them."""
    return floor(now * 1000)


def of_datetime(moment: datetime) -> int:
    """Return when that is; without a zone it is UTC, as every adapter writes it."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def of_text(text: str, *, zone: bool = False) -> int | None:
    """Return when that is; None: no moment. Without a zone it is UTC.

    Args:
        zone: Whether there must be one.
    """
    match = _TEXT.fullmatch(text)
    if match is None or (zone and match["zone"] is None):
        return None
    try:
        return of_datetime(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def iso(moment: int) -> str:
    """Return milliseconds since 1970 as ``Date.toISOString()`` writes them."""
    return _utc(moment) + "Z"


def with_offset(moment: int) -> str:
    """Return them as Prisma writes them into SQLite."""
    return _utc(moment) + "+00:00"


def _utc(moment: int) -> str:
    naive = (_EPOCH + moment * _MILLISECOND).replace(tzinfo=None)
    return naive.isoformat(timespec="milliseconds")
