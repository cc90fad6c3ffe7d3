"""``did you mean …?``."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known word, or nothing if none is close."""
    from difflib import get_close_matches  # 5 ms, and only for a file with a fault

    if not isinstance(word, str):
        return ""
    by_case = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_case, n=1, cutoff=0.7)
    return f" (did you mean {by_case[close[0]]!r}?)" if close else ""
