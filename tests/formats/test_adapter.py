from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import adapter, authjs, nextauth
from gateway.formats.adapter import SessionRecord
from gateway.formats.foreign import Refused, Why
from tests.formats.foreign_vectors import Vector, cases, cookies, says

NOW = 1_795_200_000.0
NOW_MS = 1_795_200_000_000
TOKEN = "60b02659-accf-4167-bf53-dc19de8411fb"
DAY = 86400.0
Found = tuple[SessionRecord, dict[str, Any]]


def token_of(vector: Vector) -> str:
    framework = nextauth if vector["config"]["framework"] == "v4" else authjs
    sent = cookies(vector, framework.FLAVOUR)
    return adapter.token(sent.get(vector["cookie_name"], ""))


def in_tables(vector: Vector, token: str) -> Found:
    """Do what a store of rows does: look for the token, then for the user."""
    config = vector["config"]

    def rows(table: str) -> list[dict[str, Any]]:
        return [one["row"] for one in vector["store_entries"] if one["table"] == config[table]]

    row = next((row for row in rows("session_table") if row["sessionToken"] == token), None)
    if row is None:
        raise Refused(Why.NO_ENTRY, "the store knows no such session")
    record = adapter.session_of_row(row, token)
    user = next((row for row in rows("user_table") if row["id"] == row_id(row, record)), None)
    return record, adapter.user_of_row(user, record.user_id)


def row_id(row: dict[str, Any], record: SessionRecord) -> object:
    return int(record.user_id) if isinstance(row["id"], int) else record.user_id


def in_redis(vector: Vector, token: str) -> Found:
    """Do what a store of keys does: ask for the session, then for the user."""
    prefix = vector["config"].get("base_key_prefix", "") + "user:"
    kept = {one["key"]: one for one in vector["store_entries"]}

    def get(key: str) -> bytes | None:
        one = kept.get(key)
        if one is not None and one["type"] != "redis-string":
            raise Refused(Why.BAD_ENTRY, "not a string")  # the store says so: WRONGTYPE
        return None if one is None else one["value"].encode()

    raw = get(f"{prefix}session:{token}")
    if raw is None:
        raise Refused(Why.NO_ENTRY, "the store knows no such session")
    record = adapter.session_of_json(raw, token)
    return record, adapter.user_of_json(get(prefix + record.user_id), record.user_id)


def opened(vector: Vector) -> Found:
    look_up = in_tables if vector["format"] == "next-auth-db-sql" else in_redis
    record, user = look_up(vector, token_of(vector))
    if not adapter.is_valid(record.expires, vector["now"]):
        raise Refused(Why.EXPIRED, "its time has passed")
    return record, user


def iso(moment: int) -> str:
    text = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment)).isoformat(
        timespec="milliseconds"
    )
    return text.replace("+00:00", "Z")


# --- what the packages made ----------------------------------------------------------------------


@pytest.mark.parametrize("vector", cases("next-auth-db-sql") + cases("next-auth-db-upstash"))
def test_every_vector(vector: Vector) -> None:
    if vector["kind"] == "invalid":
        with pytest.raises(Refused) as caught:
            opened(vector)
        assert says(caught.value.why, vector)
        return
    expected, config = vector["expected"], vector["config"]
    record, user = opened(vector)
    assert record.token == expected["session_token"]
    # A moment is written as its column's type has it, which only the app's schema says.
    verified, should_be = user.pop("emailVerified"), expected["user"].pop("emailVerified")
    assert (verified is None) == (should_be is None)
    assert user == expected["user"]
    assert iso(record.expires) == expected["session"]["expires"]
    life = {"max_age": config["max_age"], "update_age": config["update_age"]}
    update = expected["db_update"]
    assert adapter.is_due(record.expires, vector["now"], **life) == (update is not None)
    if update is not None:
        moved = adapter.moved(vector["now"], max_age=config["max_age"])
        assert iso(moved) == update["expires"]


@pytest.mark.parametrize("vector", cases("next-auth-db-upstash", "quirks"))
def test_every_quirk_is_answered_as_recommended(vector: Vector) -> None:
    if vector["recommendation"] == "accept":
        opened(vector)
    else:
        assert vector["recommendation"] == "reject"
        with pytest.raises(Refused):
            opened(vector)


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(TOKEN, TOKEN, id="as issued"),
        pytest.param("a b/é'%", "a b/é'%", id="any text"),
        pytest.param("x" * 1024, "x" * 1024, id="as long as may be"),
        pytest.param("", Why.MISSING, id="nothing"),
        pytest.param("x" * 1025, Why.TOO_LARGE, id="longer"),
        pytest.param("a\0b", Why.MALFORMED, id="what PostgreSQL does not take"),
        pytest.param("a\ud800b", Why.MALFORMED, id="half a surrogate pair"),
    ],
)
def test_the_token_in_a_cookie(value: str, expected: str) -> None:
    if isinstance(expected, Why):
        with pytest.raises(Refused) as caught:
            adapter.token(value)
        assert caught.value.why is expected
    else:
        assert adapter.token(value) == expected


# --- sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires", "moment"),
    [
        pytest.param(datetime(2026, 11, 20, 18, 40, tzinfo=UTC), NOW_MS, id="with zone"),
        pytest.param(datetime(2026, 11, 20, 18, 40), NOW_MS, id="without zone: UTC"),
        pytest.param(
            datetime(2026, 11, 20, 20, 40, tzinfo=timezone(timedelta(hours=2))), NOW_MS, id="of CET"
        ),
        pytest.param(
            datetime(2026, 11, 20, 18, 40, 0, 999_999), NOW_MS + 999, id="whole milliseconds"
        ),
        pytest.param(NOW_MS, NOW_MS, id="milliseconds, in SQLite"),
        pytest.param("2026-11-20T18:40:00.000Z", NOW_MS, id="a text, in SQLite by Prisma"),
        pytest.param("2026-11-20T18:40:00.000+00:00", NOW_MS, id="another one"),
        pytest.param("2026-11-20 18:40:00", NOW_MS, id="as databases print it"),
        pytest.param("2026-11-20 20:40:00.5+02", NOW_MS + 500, id="with zone, as they print it"),
        pytest.param(None, None, id="null"),
        pytest.param(True, None, id="true"),
        pytest.param("soon", None, id="no date"),
        pytest.param("2026-13-01T00:00:00Z", None, id="the 13th month"),
        pytest.param("٢٠٢٦-11-20T18:40:00Z", None, id="digits of another script"),
        pytest.param(10**30, None, id="after all time"),
        pytest.param(b"2026", None, id="bytes"),
    ],
)
def test_when_a_row_says_that_a_session_ends(expires: object, moment: int | None) -> None:
    row = {"sessionToken": TOKEN, "userId": "7", "expires": expires}
    if moment is None:
        with pytest.raises(Refused) as caught:
            adapter.session_of_row(row, TOKEN)
        assert caught.value.why is Why.BAD_ENTRY
    else:
        expected = SessionRecord(token=TOKEN, user_id="7", expires=moment)
        assert adapter.session_of_row(row, TOKEN) == expected


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        pytest.param(1, "1", id="a number"),
        pytest.param(0, "0", id="zero"),
        pytest.param("clx1", "clx1", id="a text"),
        pytest.param(UUID(TOKEN), TOKEN, id="a UUID"),
        pytest.param(None, None, id="null"),
        pytest.param("", None, id="nothing"),
        pytest.param(True, None, id="true"),
        pytest.param(1.5, None, id="a fraction"),
    ],
)
def test_whose_session_a_row_is(user_id: object, expected: str | None) -> None:
    row = {"sessionToken": TOKEN, "userId": user_id, "expires": NOW_MS}
    if expected is None:
        with pytest.raises(Refused):
            adapter.session_of_row(row, TOKEN)
    else:
        assert adapter.session_of_row(row, TOKEN).user_id == expected
        assert adapter.user_of_row({"id": user_id}, expected)["id"] == (
            user_id if not isinstance(user_id, UUID) else expected
        )


@pytest.mark.parametrize("found", [TOKEN.upper(), TOKEN + " ", TOKEN[:-1], None, 7, "\ud800"])
def test_what_is_found_for_a_token_must_be_its_session(found: object) -> None:
    # A database that compares without case, or a key that is of another kind.
    row = {"sessionToken": found, "userId": "7", "expires": NOW_MS}
    with pytest.raises(Refused):
        adapter.session_of_row(row, TOKEN)
    entry = {"sessionToken": found, "userId": "7", "expires": iso(NOW_MS)}
    with pytest.raises(Refused):
        adapter.session_of_json(json.dumps(entry).encode(), TOKEN)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(TOKEN),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["sessionToken", "userId", "expires", "id", "x"]), inner)
    ),
)


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
def test_anything_in_redis_is_a_session_or_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        adapter.session_of_json(raw, TOKEN)
    with pytest.raises(Refused):
        adapter.user_of_json(raw, "7")


@given(
    st.fixed_dictionaries(
        {"sessionToken": JSON, "userId": JSON, "expires": JSON | st.datetimes() | st.integers()}
    )
)
def test_any_row_is_a_session_or_refused(row: dict[str, object]) -> None:
    try:
        record = adapter.session_of_row(row, TOKEN)
    except Refused as refused:
        why = refused.why
    else:
        assert row["sessionToken"] == record.token == TOKEN
        return
    assert why is Why.BAD_ENTRY


# --- users ---------------------------------------------------------------------------------------


def test_a_users_row_is_read_as_json_has_it() -> None:
    row: dict[str, object] = {
        "id": 7,
        "name": None,
        "emailVerified": datetime(2026, 11, 20, 18, 40),
        "born": datetime(2026, 11, 20, 20, 40, tzinfo=timezone(timedelta(hours=2))),
        "roles": ("admin", b"\0", "user"),
        "tenant": UUID(TOKEN),
        "balance": Decimal("1.50"),
        "settings": {"dark": True, "key": b"\0"},
        "picture": b"\x89PNG",
    }
    assert adapter.user_of_row(row, "7") == {
        "id": 7,
        "name": None,
        "emailVerified": "2026-11-20T18:40:00.000Z",
        "born": "2026-11-20T18:40:00.000Z",
        "roles": ["admin", "user"],
        "tenant": TOKEN,
        "balance": "1.50",
        "settings": {"dark": True},
    }


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(None, Why.NO_USER, id="nobody"),
        pytest.param(b"null", Why.NO_USER, id="null"),
        pytest.param(b'"ada"', Why.NO_USER, id="a text"),
        pytest.param(b'{"id":"8"}', Why.BAD_ENTRY, id="somebody else"),
        pytest.param(b'{"userId":"7"}', Why.BAD_ENTRY, id="a session"),
    ],
)
def test_what_is_no_user(raw: bytes | None, why: Why) -> None:
    with pytest.raises(Refused) as caught:
        adapter.user_of_json(raw, "7")
    assert caught.value.why is why


@pytest.mark.parametrize("row", [None, {}, {"id": 8}, {"id": True}, {"id": None}], ids=repr)
def test_what_is_no_users_row(row: dict[str, object] | None) -> None:
    with pytest.raises(Refused):
        adapter.user_of_row(row, "7")


# --- lifetimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires", "valid"),
    [
        pytest.param(NOW_MS + 1, True, id="in a millisecond"),
        pytest.param(NOW_MS, True, id="in this one"),
        pytest.param(NOW_MS - 1, False, id="a millisecond ago"),
    ],
)
def test_a_session_is_valid_at_the_millisecond_of_its_end(expires: int, *, valid: bool) -> None:
    assert adapter.is_valid(expires, NOW) is valid


@pytest.mark.parametrize(
    ("since", "update_age", "due"),
    [
        pytest.param(0.0, DAY, False, id="just moved"),
        pytest.param(DAY - 0.001, DAY, False, id="a millisecond too soon"),
        pytest.param(DAY, DAY, True, id="a day later"),
        pytest.param(0.0, 0.0, True, id="at every request"),
        pytest.param(-1.0, 0.0, False, id="max_age was lowered since"),
    ],
)
def test_an_expiry_is_moved_once_in_update_age(
    since: float, update_age: float, *, due: bool
) -> None:
    expires = adapter.moved(NOW)
    assert expires == NOW_MS + 30 * 86_400_000
    assert adapter.is_due(expires, NOW + since, update_age=update_age) is due
    if due:
        assert not adapter.is_due(adapter.moved(NOW + since), NOW + since)


def test_a_record_does_not_show_its_token() -> None:
    assert TOKEN not in repr(SessionRecord(token=TOKEN, user_id="7", expires=0))
