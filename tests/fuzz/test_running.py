"""The fuzzer finds what it is there to find."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from time import thread_time

import pytest

from tests.fuzz.mutating import LONGEST, mutated
from tests.fuzz.running import DEAREST, Finding, Subject, fuzz

SAMPLES = [f"name=value-{n}.{sha256(b'value-%d' % n).hexdigest()}".encode() for n in range(5)]


def checked(text: bytes) -> str | None:
    value, _, digest = text.partition(b"=")[2].rpartition(b".")
    return str(value) if sha256(value).hexdigest().encode() == digest else None


def many(number: int) -> bool:
    return number < 5000


def few(number: int) -> bool:
    return number < 3


def test_a_codec_that_is_right_passes() -> None:
    tally = fuzz([Subject(bytes, checked, SAMPLES)], Random(1), many, timed=False)
    assert tally.inputs == 5000
    assert 0 < tally.opened < tally.inputs, "changes beside the value open, others do not"


def test_raising_before_the_codec_is_found_too() -> None:
    with pytest.raises(Finding, match="raised UnicodeDecodeError"):
        fuzz([Subject(bytes.decode, str, SAMPLES, forgeable=True)], Random(1), many, timed=False)


def test_a_codec_that_raises_is_found() -> None:
    def raising(text: bytes) -> str | None:
        text.decode()
        return None

    with pytest.raises(Finding, match="raised UnicodeDecodeError"):
        fuzz([Subject(bytes, raising, SAMPLES)], Random(1), many, timed=False)


def test_a_codec_that_does_not_look_at_all_of_a_signature_is_found() -> None:
    def short(text: bytes) -> str | None:
        value, _, digest = text.partition(b"=")[2].rpartition(b".")
        return str(value) if sha256(value).hexdigest().encode()[:1] == digest[:1] else None

    with pytest.raises(Finding, match="opened what nobody sealed"):
        fuzz([Subject(bytes, short, SAMPLES)], Random(1), many, timed=False)


def test_what_anybody_can_write_may_open_as_anything() -> None:
    subject = Subject(bytes, str, SAMPLES, forgeable=True)
    assert fuzz([subject], Random(1), many, timed=False).opened == 5000


def test_a_codec_that_takes_long_is_found_where_it_is_looked_for() -> None:
    def slow(text: bytes) -> str | None:
        until = thread_time() + 2 * DEAREST
        while thread_time() < until:
            pass
        return None

    with pytest.raises(Finding, match="took"):
        fuzz([Subject(bytes, slow, SAMPLES)], Random(1), many, timed=True)
    assert fuzz([Subject(bytes, slow, SAMPLES)], Random(1), few, timed=False).dearest > DEAREST
    own = Subject(bytes, slow, SAMPLES, timed=False)
    assert fuzz([own], Random(1), few, timed=True).dearest > DEAREST


def test_a_finding_can_be_tried_again() -> None:
    assert "aGVsbG8=" in str(Finding("raised", b"hello"))


def test_changes_are_many_and_bounded_and_come_again_with_their_seed() -> None:
    one, other = (
        [mutated(SAMPLES, random) for _ in range(2000)] for random in (Random(1), Random(1))
    )
    assert one == other
    assert len(set(one)) > 1500
    assert max(map(len, one)) <= LONGEST
    assert mutated([b""], Random(1)) is not None
