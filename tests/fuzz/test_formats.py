"""Cookies of every format, changed at random: shortly with every test run, long in `make fuzz`."""

from __future__ import annotations

import os
import time
from random import Random

import pytest

from tests.fuzz.running import Subject, fuzz
from tests.fuzz.targets import targets

SECONDS = float(os.environ.get("GATEWAY_FUZZ", "0"))
"""How long, all formats together; 0: a few thousand inputs each, the same in every run."""
FEW = 2000

TARGETS = targets()


@pytest.mark.parametrize(
    "subjects", [pytest.param(subjects, id=name) for name, subjects in TARGETS.items()]
)
def test_what_nobody_sealed_is_refused_and_nothing_else_happens(subjects: list[Subject]) -> None:
    seed = int.from_bytes(os.urandom(4), "big") if SECONDS else 1
    until = time.monotonic() + SECONDS / len(TARGETS)

    def more(inputs: int) -> bool:
        return time.monotonic() < until if SECONDS else inputs < FEW

    tally = fuzz(subjects, Random(seed), more, timed=SECONDS > 0)
    print(
        f"\nseed {seed}: {tally.inputs} inputs, {tally.opened} of them opened as what was sealed,"
        f" {tally.dearest * 1e6:.0f} us at most"
    )
    assert tally.inputs


def test_every_format_has_samples_that_open() -> None:
    """Or a codec that refuses all would pass."""
    for name, subjects in TARGETS.items():
        opening = [subject for subject in subjects if subject.known()]
        assert opening or name == "upstash session", name
