"""One codec under many changed inputs, and what counts as a finding."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.mutating import mutated

DEAREST = 0.001
"""Seconds that any input may cost, in a run that looks at it."""


@dataclass(frozen=True)
class Subject:
    """A codec with the secrets of one app."""

    parse: Callable[[bytes], Any]
    """Makes of an input what the codec is given."""
    read: Callable[[Any], str | None]
    """Returns what was opened, as text that tells two apart, and None for what it refuses as
    documented; anything that it raises is a finding."""
    samples: Sequence[bytes]
    forgeable: bool = False
    """Whether others than the app can make an input that opens: nothing is signed in there."""
    timed: bool = True
    """Whether it is for anybody to send; what the app itself has written may take longer."""
    genuine: Sequence[bytes] = ()
    """Whatever the app has sealed and is in the samples, though it may not count there."""

    def known(self) -> frozenset[str]:
        """Return all that can open: nothing else can be made of the samples without the secret."""
        found = (self.read(self.parse(text)) for text in (*self.samples, *self.genuine))
        return frozenset(text for text in found if text is not None)


@dataclass
class Tally:
    """What a run did."""

    inputs: int = 0
    opened: int = 0
    dearest: float = 0.0


class Finding(AssertionError):
    """An input that a codec does not take as it must, told so that it can be tried again."""

    def __init__(self, what: str, text: bytes) -> None:
        super().__init__(f"{what}; the input in base64: {b64encode(text).decode()}")


def fuzz(
    subjects: Sequence[Subject], random: Random, more: Callable[[int], bool], *, timed: bool
) -> Tally:
    """Put changed samples to the subjects in turn, as long as ``more`` says so of their number.

    Raises:
        Finding: A subject raised what it must not, opened what nobody sealed, or took too long.
    """
    tally = Tally()
    known = [subject.known() for subject in subjects]
    while more(tally.inputs):
        number = tally.inputs % len(subjects)
        subject = subjects[number]
        text = mutated(subject.samples, random)
        tally.inputs += 1
        seconds, found = _tried(subject, text)
        if timed and subject.timed and seconds > DEAREST:
            # Other programs run, too: the quickest of several says what it costs.
            seconds = min(_tried(subject, text)[0] for _ in range(7))
            if seconds > DEAREST:
                raise Finding(f"took {seconds * 1000:.1f} ms", text)
        tally.dearest = max(tally.dearest, seconds)
        if found is not None:
            tally.opened += 1
            if not subject.forgeable and found not in known[number]:
                raise Finding("opened what nobody sealed", text)
    return tally


def _tried(subject: Subject, text: bytes) -> tuple[float, str | None]:
    try:
        parsed = subject.parse(text)
        began = time.thread_time()
        found = subject.read(parsed)
    except Exception as exc:
        raise Finding(f"raised {type(exc).__name__}", text) from exc
    return time.thread_time() - began, found
