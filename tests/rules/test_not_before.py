from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import CorruptRecord
from gateway.model import ANONYMOUS, Renewal, SealedSession, Session, SessionId, SessionKey, User
from gateway.rules.not_before import (
    NotBefore,
    end_record,
    is_record,
    judged,
    marks_of,
    moment,
    moved_to,
    needed_until,
    next_id,
    since,
    since_when_moved,
    user_key,
    user_record,
)

KEY, OTHER = SessionKey("a" * 64), SessionKey("b" * 64)
ID = SessionId("AAECAwQFBgcICQoLDA0ODw")
ADA = SealedSession(
    key=KEY,
    id=ID,
    user=User(id="ada", provider="corp", roles=("editor", "viewer")),
    created_at=100.0,
    ends_at=900.0,
    touched_at=150.0,
    expires_at=400.0,
    handle=b"h" * 16,
    since=100.0,
)


def of_user(**marks: NotBefore) -> Session:
    names = {"every": ""}
    known = {names.get(name, name): mark for name, mark in marks.items()}
    return user_record(user_key("ada"), ID, known, now=200.0, ends_at=900.0)


@pytest.mark.parametrize(
    ("since", "record", "lives"),
    [
        pytest.param(100.0, None, True, id="nothing is known"),
        pytest.param(100.0, of_user(), True, id="nothing is known against it"),
        pytest.param(100.0, of_user(every=NotBefore(ended_at=200.0)), False, id="ended"),
        pytest.param(200.0, of_user(every=NotBefore(ended_at=200.0)), False, id="at that moment"),
        pytest.param(200.1, of_user(every=NotBefore(ended_at=200.0)), True, id="began later"),
        pytest.param(100.0, of_user(corp=NotBefore(ended_at=200.0)), False, id="of its provider"),
        pytest.param(100.0, of_user(other=NotBefore(ended_at=200.0)), True, id="of another one"),
        pytest.param(
            100.0, of_user(every=NotBefore(ended_at=200.0, spared=(KEY,))), True, id="spared"
        ),
        pytest.param(
            100.0, of_user(every=NotBefore(ended_at=200.0, spared=(OTHER,))), False, id="not it"
        ),
        pytest.param(
            100.0,
            of_user(every=NotBefore(ended_at=200.0, spared=(KEY,)), corp=NotBefore(ended_at=201.0)),
            False,
            id="spared once, ended later",
        ),
    ],
)
def test_all_sessions_of_a_user_end(since: float, record: Session | None, *, lives: bool) -> None:
    session = replace(ADA, since=since)
    assert judged(session, None, record) == (session if lives else None)


@pytest.mark.parametrize(
    ("record", "lives"),
    [
        pytest.param(end_record(KEY, ID, now=200.0, ends_at=900.0), False, id="ended"),
        pytest.param(
            end_record(KEY, ID, now=200.0, ends_at=900.0, moved_to=OTHER), False, id="moved"
        ),
        pytest.param(replace(ADA, data={"moved_to": "x"}), True, id="the session itself"),
    ],
)
def test_one_session_ends(record: Session, *, lives: bool) -> None:
    assert judged(ADA, record, None) == (ADA if lives else None)
    assert is_record(record) is not lives


def test_a_visitors_session_ends_by_itself_alone() -> None:
    visitor = replace(ADA, user=ANONYMOUS)
    assert judged(visitor, visitor, of_user(every=NotBefore(ended_at=200.0))) == visitor
    assert judged(visitor, end_record(KEY, ID, now=200.0, ends_at=900.0), None) is None


def test_other_roles_count_at_once_with_another_id_and_another_token() -> None:
    record = of_user(every=NotBefore(roles=("viewer",), roles_at=200.0))
    changed = judged(ADA, None, record)
    assert changed is not None
    assert changed.user.roles == ("viewer",)
    assert changed.id == next_id(ID, 200.0) != ID
    assert len(changed.id) == len(ID)
    assert changed.renewal is Renewal.AT_ONCE


def test_what_was_changed_once_is_not_changed_again() -> None:
    record = of_user(every=NotBefore(roles=("viewer",), roles_at=200.0))
    changed = judged(ADA, None, record)
    assert changed is not None
    sealed_anew = replace(changed, renewal=None)
    assert judged(sealed_anew, None, record) == sealed_anew


def test_the_same_roles_in_another_order_cost_nobody_the_token() -> None:
    record = of_user(every=NotBefore(roles=("viewer", "editor"), roles_at=200.0))
    changed = judged(ADA, None, record)
    assert changed is not None
    assert changed.renewal is Renewal.WITH_GRACE


def test_of_two_changes_of_roles_the_later_counts() -> None:
    record = of_user(
        every=NotBefore(roles=("old",), roles_at=200.0),
        corp=NotBefore(roles=("new",), roles_at=300.0),
    )
    changed = judged(ADA, None, record)
    assert changed is not None
    assert changed.user.roles == ("new",)


def test_who_got_other_roles_is_ended_all_the_same() -> None:
    record = of_user(every=NotBefore(ended_at=250.0, roles=("viewer",), roles_at=200.0))
    assert judged(ADA, None, record) is None
    renewed = replace(ADA, since=200.1)
    assert judged(renewed, None, record) is None


@pytest.mark.parametrize(
    ("marks", "now"),
    [
        pytest.param({}, 100.0, id="nothing known"),
        pytest.param({"": NotBefore(ended_at=50.0)}, 100.0, id="long ago"),
        pytest.param({"": NotBefore(ended_at=150.0)}, 100.0, id="by a clock that is ahead"),
        pytest.param({"corp": NotBefore(roles=("x",), roles_at=150.0)}, 100.0, id="roles, ahead"),
    ],
)
def test_a_new_session_counts_whatever_clock_the_marks_were_made_by(
    marks: dict[str, NotBefore], now: float
) -> None:
    session = replace(ADA, since=since(marks, "corp", now))
    record = user_record(user_key("ada"), ID, marks, now=now, ends_at=900.0)
    assert judged(session, None, record) == session


def test_records_are_read_back() -> None:
    marks = {"corp": NotBefore(ended_at=1.5, spared=(KEY,), roles=("a",), roles_at=2.5)}
    assert marks_of(user_record(KEY, ID, marks, now=0.0, ends_at=1.0)) == marks
    assert marks_of(None) == {}
    assert moved_to(end_record(KEY, ID, now=0.0, ends_at=1.0, moved_to=OTHER)) == OTHER
    assert moved_to(end_record(KEY, ID, now=0.0, ends_at=1.0)) is None


@pytest.mark.parametrize(
    "data",
    [{}, {"marks": None}, {"marks": {"corp": 1}}, {"marks": {"corp": {"ended_at": "never"}}}],
    ids=str,
)
def test_what_cannot_be_read_is_not_taken_for_nothing(data: dict[str, object]) -> None:
    record = replace(of_user(), data=data)
    with pytest.raises(CorruptRecord):
        judged(ADA, None, record)


def test_no_session_of_an_upstream_can_pass_for_a_record() -> None:
    visitor = replace(ADA, user=ANONYMOUS, data={"marks": {}, "moved_to": "x"}, address="::1")
    assert not is_record(visitor)


@pytest.mark.parametrize(
    ("record", "until"),
    [
        pytest.param(end_record(KEY, ID, now=200.0, ends_at=900.0), 900.0, id="of a session"),
        pytest.param(of_user(), 0.0, id="of a user of whom nothing is known"),
        pytest.param(of_user(corp=NotBefore(ended_at=200.0)), 700.0, id="ended"),
        pytest.param(of_user(corp=NotBefore(roles=("a",), roles_at=300.0)), 800.0, id="roles"),
        pytest.param(
            of_user(corp=NotBefore(ended_at=600.0)), 900.0, id="no longer than it is kept"
        ),
    ],
)
def test_a_record_is_needed_as_long_as_sessions_live_that_it_is_about(
    record: Session, until: float
) -> None:
    assert needed_until(record, max_age=500.0) == until


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"corp": NotBefore(ended_at=50.0, roles_at=60.0)}, id="something before"),
        pytest.param({"": NotBefore(ended_at=100.0)}, id="something at the same time"),
        pytest.param({"": NotBefore(), "corp": NotBefore(roles_at=300.0)}, id="something to come"),
    ],
)
def test_what_happens_now_counts_against_all_that_began_before_and_nothing_that_begins_after(
    marks: dict[str, NotBefore],
) -> None:
    began = replace(ADA, since=since(marks, "corp", 99.0))
    at = moment(marks, 100.0)
    assert at >= 100.0
    ended = marks | {"": NotBefore(ended_at=at)}
    assert (
        judged(began, None, user_record(user_key("ada"), ID, ended, now=1.0, ends_at=9.0)) is None
    )
    assert since(ended, "corp", 100.0) > at


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(None, 100.0, id="nothing is known"),
        pytest.param(of_user(every=NotBefore(ended_at=50.0)), 100.0, id="ended before it began"),
        pytest.param(of_user(every=NotBefore(ended_at=200.0)), None, id="ended"),
        pytest.param(of_user(corp=NotBefore(roles_at=200.0)), None, id="other roles by now"),
    ],
)
def test_since_when_a_session_counts_that_goes_on_under_another_key(
    record: Session | None, expected: float | None
) -> None:
    assert since_when_moved(ADA, None, record) == expected


def test_what_was_spared_counts_under_its_new_key_as_well() -> None:
    record = of_user(every=NotBefore(ended_at=200.0, spared=(KEY,)))
    moved = since_when_moved(ADA, None, record)
    assert moved is not None
    assert judged(replace(ADA, key=OTHER, since=moved), None, record) is not None
    ended = end_record(KEY, ID, now=200.0, ends_at=900.0)
    assert since_when_moved(ADA, ended, record) is None
