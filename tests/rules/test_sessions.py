from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CorruptRecord
from gateway.model import ANONYMOUS, Lifetime, Renewal, Session, SessionId, SessionKey, User
from gateway.rules.sessions import (
    born,
    decode,
    due,
    encode,
    is_over,
    left_behind,
    renewed,
    touched,
    with_roles,
)

LIFETIME = Lifetime(max_age=1000.0, idle_timeout=100.0, update_age=10.0)
KEY = SessionKey("a" * 64)
ADA = User(
    id="ada",
    provider="corp",
    name="Ada",
    email="ada@example.com",
    image="https://example.com/a.png",
    roles=("admin", "r,o|l e"),
    permissions=("reports:read",),
)


def a_session(now: float = 5000.0, lifetime: Lifetime = LIFETIME) -> Session:
    return born(ADA, KEY, SessionId("id"), lifetime, now=now)


@pytest.mark.parametrize(
    ("lifetime", "ends_at", "expires_at"),
    [
        pytest.param(LIFETIME, 6000.0, 5100.0, id="idle first"),
        pytest.param(replace(LIFETIME, max_age=50.0), 5050.0, 5050.0, id="never past its end"),
    ],
)
def test_a_session_is_born_with_both_its_ends(
    lifetime: Lifetime, ends_at: float, expires_at: float
) -> None:
    assert a_session(lifetime=lifetime) == Session(
        key=KEY,
        id=SessionId("id"),
        user=ADA,
        created_at=5000.0,
        ends_at=ends_at,
        touched_at=5000.0,
        expires_at=expires_at,
    )


@pytest.mark.parametrize(
    ("lifetime", "age", "expected"),
    [
        pytest.param(LIFETIME, 0.0, False, id="just born"),
        pytest.param(LIFETIME, 9.9, False, id="at most once an update_age"),
        pytest.param(LIFETIME, 10.0, True, id="an update_age has passed"),
        pytest.param(replace(LIFETIME, max_age=100.0), 50.0, False, id="at its end already"),
        pytest.param(replace(LIFETIME, update_age=0.0), 0.1, True, id="on every request"),
        pytest.param(
            replace(LIFETIME, update_age=300.0), 49.9, False, id="idle_timeout is shorter"
        ),
        pytest.param(
            replace(LIFETIME, update_age=300.0), 50.0, True, id="no active user is dropped"
        ),
        pytest.param(LIFETIME, -5.0, False, id="the clock went back"),
    ],
)
def test_when_the_expiry_is_due_to_move(lifetime: Lifetime, age: float, expected: bool) -> None:
    session = a_session(lifetime=lifetime)
    assert due(session, lifetime, now=5000.0 + age) is expected


def test_a_shorter_idle_timeout_counts_for_sessions_born_before() -> None:
    shorter = replace(LIFETIME, idle_timeout=30.0)
    session = a_session()
    assert due(session, shorter, now=5020.0)
    assert touched(session, shorter, now=5020.0).expires_at == 5050.0


def test_a_touch_moves_the_idle_expiry_only() -> None:
    session = a_session()
    assert touched(session, LIFETIME, now=5050.0) == replace(
        session, touched_at=5050.0, expires_at=5150.0
    )


def test_no_touch_goes_beyond_the_absolute_end() -> None:
    assert touched(a_session(), LIFETIME, now=5950.0).expires_at == 6000.0


def test_a_touched_session_is_not_due() -> None:
    moved = touched(a_session(), LIFETIME, now=5050.0)
    assert not due(moved, LIFETIME, now=5050.0)


@pytest.mark.parametrize(
    ("now", "over"),
    [(5000.0, False), (5099.999, False), (5100.0, True), (9999.0, True)],
)
def test_a_session_is_over_at_the_second_it_expires(now: float, over: bool) -> None:
    assert is_over(a_session(), now) is over


def test_an_expiry_that_is_no_number_is_the_end() -> None:
    assert is_over(replace(a_session(), expires_at=math.nan), 0.0)


def test_a_record_is_read_as_it_was_written() -> None:
    session = a_session()
    assert decode(KEY, encode(session), session.touched_at, session.expires_at) == session


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        User,
        id=TEXT.filter(bool),
        provider=TEXT,
        name=st.none() | TEXT,
        email=st.none() | TEXT,
        image=st.none() | TEXT,
        roles=st.lists(TEXT).map(tuple),
        permissions=st.lists(TEXT).map(tuple),
    )
)
def test_any_user_is_read_as_written(user: User) -> None:
    session = replace(a_session(), user=user)
    assert decode(KEY, encode(session), session.touched_at, session.expires_at) == session


def test_a_record_leaves_out_what_moves_and_the_key() -> None:
    record = msgspec.json.decode(encode(a_session()))
    assert set(record) == {"v", "id", "user", "created_at", "ends_at"}
    assert record["v"] == 1


def test_every_field_is_read_as_written() -> None:
    session = Session(
        key=KEY,
        id=SessionId("id"),
        user=ANONYMOUS,
        created_at=5000.0,
        ends_at=6000.0,
        touched_at=5001.0,
        expires_at=5101.0,
        data={"cart": [1, {"a": None}]},
        device="Mozilla/5.0",
        address="::1",
        remembered=False,
        renewal=Renewal.AT_ONCE,
        replaces=SessionKey("b" * 64),
        replaced_by=SessionKey("c" * 64),
    )
    assert decode(KEY, encode(session), 5001.0, 5101.0) == session


def test_a_record_as_the_first_gateways_wrote_it_is_read() -> None:
    record = (
        b'{"v":1,"id":"id","user":{"id":"ada","provider":"corp","name":"Ada",'
        b'"email":"ada@example.com","image":"https://example.com/a.png",'
        b'"roles":["admin","r,o|l e"],"permissions":["reports:read"]},'
        b'"created_at":5000.0,"ends_at":6000.0}'
    )
    assert decode(KEY, record, 5000.0, 5100.0) == a_session()
    assert encode(a_session()) == record  # and they read what has nothing new in it


def test_what_a_later_gateway_adds_is_passed_over() -> None:
    user = {"id": "ada", "provider": "corp", "mood": "fine"}
    later = decode(KEY, changed(colour="green", user=user), 5000.0, 5100.0)
    assert later.user == User(id="ada", provider="corp")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("curl/8.0", "curl/8.0", id="plain"),
        pytest.param("a\x00\x1b[31m\tb\u202ec", "a[31mbc", id="what steers a terminal"),
        pytest.param("x" * 5000, "x" * 256, id="long"),
    ],
)
def test_a_session_remembers_the_device_in_printable_characters(sent: str, kept: str) -> None:
    assert born(ADA, KEY, SessionId("id"), LIFETIME, now=0.0, device=sent).device == kept


NEW_KEY = SessionKey("b" * 64)
WITH_GRACE, AT_ONCE = Renewal.WITH_GRACE, Renewal.AT_ONCE


@pytest.mark.parametrize(
    ("pending", "roles", "renewal"),
    [
        pytest.param(None, ("r,o|l e", "admin"), WITH_GRACE, id="the same roles"),
        pytest.param(None, ("admin",), AT_ONCE, id="one is lost"),
        pytest.param(None, ("admin", "r,o|l e", "boss"), AT_ONCE, id="one is gained"),
        pytest.param(None, ("boss",), AT_ONCE, id="others"),
        pytest.param(None, (), AT_ONCE, id="none"),
        pytest.param(AT_ONCE, ("admin", "r,o|l e"), AT_ONCE, id="a change that still waits"),
    ],
)
def test_only_with_the_same_roles_the_old_token_gets_a_grace(
    pending: Renewal | None, roles: tuple[str, ...], renewal: Renewal
) -> None:
    session = replace(a_session(), renewal=pending)
    changed = with_roles(session, roles, SessionId("other"))
    assert changed == replace(
        session, id=SessionId("other"), user=replace(ADA, roles=roles), renewal=renewal
    )


def test_a_renewed_session_is_the_same_under_another_key() -> None:
    session = replace(a_session(), renewal=AT_ONCE, data={"cart": [1]})
    assert renewed(session, NEW_KEY) == replace(session, key=NEW_KEY, renewal=None, replaces=KEY)


@pytest.mark.parametrize(
    ("renewal", "now", "end"),
    [
        pytest.param(WITH_GRACE, 5010.0, 5020.0, id="ten seconds"),
        pytest.param(WITH_GRACE, 5095.0, 5100.0, id="never longer than before"),
        pytest.param(AT_ONCE, 5010.0, None, id="nothing where rights changed"),
        pytest.param(None, 5010.0, None, id="nothing where nobody asked for a grace"),
    ],
)
def test_what_is_left_under_the_old_token(
    renewal: Renewal | None, now: float, end: float | None
) -> None:
    session = replace(a_session(), renewal=renewal)
    left = left_behind(session, renewed(session, NEW_KEY), now=now)
    if end is None:
        assert left is None
        return
    assert left == replace(session, renewal=None, replaced_by=NEW_KEY, ends_at=end, expires_at=end)
    assert not due(left, LIFETIME, now=now + 1)


def test_an_expiry_kept_beside_the_record_cannot_pass_its_end() -> None:
    assert decode(KEY, encode(a_session()), 5000.0, 99999.0).expires_at == 6000.0


def changed(**values: object) -> bytes:
    record = msgspec.json.decode(encode(a_session()))
    for name, value in values.items():
        if value is ...:
            del record[name]
        else:
            record[name] = value
    return msgspec.json.encode(record)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff", id="rubbish"),
        pytest.param(b"[" * 100_000, id="a deep nest"),
        pytest.param(b"null", id="null"),
        pytest.param(encode(a_session())[:-1], id="cut short"),
        pytest.param(encode(a_session()) + b"x", id="more behind it"),
        pytest.param(changed(v=2), id="a newer version"),
        pytest.param(changed(v=...), id="no version"),
        pytest.param(changed(v="1"), id="a version in words"),
        pytest.param(changed(id=...), id="no id"),
        pytest.param(changed(id=""), id="an empty id"),
        pytest.param(changed(user=...), id="no user"),
        pytest.param(changed(user="ada"), id="a user that is a name"),
        pytest.param(changed(user={"id": ""}), id="a user without id"),
        pytest.param(changed(user={"id": "ada", "roles": "admin"}), id="roles that are a text"),
        pytest.param(changed(user={"id": "ada", "roles": [["admin"]]}), id="roles in roles"),
        pytest.param(changed(ends_at="tomorrow"), id="an end that is a word"),
        pytest.param(b'{"v":1,"id":"\xff"}', id="broken UTF-8"),
    ],
)
def test_what_is_no_record_of_ours_is_corrupt(payload: bytes) -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode(KEY, payload, 5000.0, 5100.0)
    assert "ada" not in str(caught.value)


@given(st.binary())
def test_hostile_bytes_raise_only_the_documented_error(payload: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode(KEY, payload, 5000.0, 5100.0)
