"""Sessions that other frameworks have issued, for the gateway's own pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gateway.model import Session
from gateway.rules.sessions import is_over
from gateway.sources.cookie_life import cleared
from gateway.sources.protocol import Source


class AcceptedVisitors:
    """Sessions of all sources; no route limits them here.

    Args:
        wall: Returns Unix seconds.
    """

    def __init__(self, sources: tuple[Source, ...], wall: Callable[[], float]) -> None:
        self._sources = sources
        self._wall = wall

    async def session(self, cookies: Mapping[str, bytes]) -> Session | None:
        """Return the first session that names somebody.

        Args:
            cookies: Those of sources, as they are sorted for routes.
        """
        for source in self._sources:
            key = source.key(cookies)
            held = None if key is None else await source.get(key)
            if held is None or held.session.anonymous or is_over(held.session, self._wall()):
                continue
            return held.session
        return None

    def cleared(self, sent: str) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that take away what was sent of them.

        That ends a session which its cookie holds, and hides any other from this browser. It does
        not help where the app has set its cookie for a whole domain, or for a path.

        Args:
            sent: The value of ``Cookie``.
        """
        names = dict.fromkeys(part.partition("=")[0].strip() for part in sent.split(";"))
        own = [name for source in self._sources for name in source.config.cookies]
        return tuple(
            cleared(name) for name in names if any(_belongs(name, cookie) for cookie in own)
        )


def _belongs(name: str, cookie: str) -> bool:
    """Whether a cookie is the one of this name, or a piece of it."""
    return name == cookie or re.fullmatch(re.escape(cookie) + r"\.[0-9]{1,3}", name) is not None
