"""A session in this process's memory."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Session


@dataclass(slots=True, eq=False)
class Held:
    """A session, and what its caller made of it: the same object while the copy is kept."""

    session: Session
    caller: object | None = None
    """Free for whoever asks, such as the headers built from this session. None at first."""
    stale: bool = False
    """Whether the store could not confirm it: it is what was true a while ago."""
