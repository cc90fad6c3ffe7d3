from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.errors import CorruptRecord
from gateway.formats.keys import derive
from gateway.model import Session, SessionKey
from gateway.stores.codec import PLAIN, RememberingCodec, codec_for
from gateway.stores.protocol import Codec
from gateway.stores.sealing import SealedCodec, record_key_id, sealed_under
from gateway.stores.sqlite import SqliteStore
from tests.stores.contract import a_session, keys_of_tokens

OLD, NEW, OTHER = "an older secret, 32 letters long", "a newer secret, 32 letters long", "x" * 32
SESSION = a_session(now=5000.0)


def opened(codec: Codec, payload: bytes, key: SessionKey = SESSION.key) -> Session:
    return codec.decode(key, payload, SESSION.touched_at, SESSION.expires_at)


def test_a_sealed_session_is_opened_as_it_was() -> None:
    codec = SealedCodec([NEW])
    assert opened(codec, codec.encode(SESSION)) == SESSION


def test_nothing_of_a_session_can_be_read_from_the_outside() -> None:
    payload = SealedCodec([NEW]).encode(SESSION)
    for word in ("ada@", "admin", SESSION.id, "Mozilla", "cart", "created_at", "2001:db8"):
        assert word.encode() not in payload


def test_two_records_of_one_session_have_nothing_in_common_but_which_secret_it_was() -> None:
    codec = SealedCodec([NEW])
    one, two = codec.encode(SESSION), codec.encode(SESSION)
    assert one[:5] == two[:5]
    assert not any(one[n : n + 4] == two[n : n + 4] for n in range(5, len(one) - 4))


def test_the_first_secret_seals_and_all_open() -> None:
    before, rotated, after = SealedCodec([OLD]), SealedCodec([NEW, OLD]), SealedCodec([NEW])
    assert opened(rotated, before.encode(SESSION)) == SESSION
    assert opened(after, rotated.encode(SESSION)) == SESSION
    assert sealed_under(rotated.encode(SESSION)) == record_key_id(NEW)
    assert sealed_under(before.encode(SESSION)) == record_key_id(OLD)


@pytest.mark.parametrize(
    "codec",
    [
        pytest.param(SealedCodec([OTHER]), id="another secret"),
        pytest.param(SealedCodec([OTHER], seal=False), id="another secret, not sealing"),
        pytest.param(PLAIN, id="no secret"),
    ],
)
def test_a_record_is_nothing_without_its_secret(codec: Codec) -> None:
    with pytest.raises(CorruptRecord) as caught:
        opened(codec, SealedCodec([NEW]).encode(SESSION))
    assert NEW not in str(caught.value)


def test_what_was_written_before_sealing_was_switched_off_is_read() -> None:
    sealing, not_sealing = SealedCodec([NEW]), SealedCodec([NEW], seal=False)
    plain = not_sealing.encode(SESSION)
    assert plain == PLAIN.encode(SESSION)
    assert sealed_under(plain) is None
    assert opened(not_sealing, plain) == SESSION
    assert opened(not_sealing, sealing.encode(SESSION)) == SESSION


def test_who_can_write_to_the_store_can_make_no_session_where_they_are_sealed() -> None:
    with pytest.raises(CorruptRecord, match=r"session\.encrypt"):
        opened(SealedCodec([NEW]), PLAIN.encode(SESSION))


def test_a_record_is_nothing_under_another_key() -> None:
    codec = SealedCodec([NEW])
    with pytest.raises(CorruptRecord):
        opened(codec, codec.encode(SESSION), SessionKey("b" * 64))


def test_no_single_changed_byte_is_accepted() -> None:
    codec = SealedCodec([NEW])
    payload = codec.encode(replace(SESSION, data={}, device=""))
    for at in range(len(payload)):
        for other in {0, 1, 0x7B, 0xFF, payload[at] ^ 1, payload[at] ^ 0x80} - {payload[at]}:
            with pytest.raises(CorruptRecord):
                opened(codec, payload[:at] + bytes([other]) + payload[at + 1 :])


def test_no_shortened_record_is_accepted() -> None:
    codec = SealedCodec([NEW])
    payload = codec.encode(SESSION)
    for length in range(len(payload)):
        with pytest.raises(CorruptRecord):
            opened(codec, payload[:length])


@given(st.binary() | st.binary().map(lambda rest: b"\x01" + record_key_id(NEW) + rest))
def test_hostile_bytes_raise_only_the_documented_error(payload: bytes) -> None:
    with pytest.raises(CorruptRecord):
        opened(SealedCodec([NEW]), payload)


def test_a_record_that_stays_the_same_is_the_same_object() -> None:
    codec = RememberingCodec(SealedCodec([NEW]))
    payload = codec.encode(SESSION)
    assert opened(codec, payload) == SESSION
    assert opened(codec, bytes(bytearray(payload))) is opened(codec, payload)


def test_what_is_remembered_of_a_record_is_nothing_to_another_one() -> None:
    codec = RememberingCodec(SealedCodec([NEW]))
    payload = codec.encode(SESSION)
    opened(codec, payload)
    less = replace(SESSION, user=replace(SESSION.user, roles=()))
    assert opened(codec, codec.encode(less)) == less
    ends = SESSION.expires_at - 1
    moved = codec.decode(SESSION.key, payload, SESSION.touched_at + 1, ends)
    assert moved == replace(SESSION, touched_at=SESSION.touched_at + 1, expires_at=ends)
    for key, spoilt in ((SessionKey("b" * 64), payload), (SESSION.key, payload[:-1] + b"?")):
        with pytest.raises(CorruptRecord):
            opened(codec, spoilt, key)
        assert opened(codec, payload) == SESSION


def test_only_so_many_records_are_remembered_and_no_long_ones() -> None:
    codec = RememberingCodec(PLAIN, most=2, longest=2048)
    long = replace(SESSION, data={"cart": "x" * 2048})
    assert opened(codec, codec.encode(long)) is not opened(codec, codec.encode(long))
    payload = codec.encode(SESSION)
    first = opened(codec, payload)
    for letter in "bc":
        opened(codec, payload, SessionKey(letter * 64))
    again = opened(codec, payload)
    assert again == first
    assert again is not first


def test_keys_for_different_purposes_and_of_different_secrets_differ() -> None:
    keys = {derive(secret, purpose) for secret in (OLD, NEW) for purpose in ("one", "other")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    ("secrets", "encrypt", "sealed"),
    [
        pytest.param((NEW,), True, True, id="sealed"),
        pytest.param((NEW,), False, False, id="switched off"),
        pytest.param((), False, False, id="no secret"),
    ],
)
def test_the_settings_decide_whether_records_are_sealed(
    secrets: tuple[str, ...], encrypt: bool, sealed: bool
) -> None:
    payload = codec_for(secrets, encrypt=encrypt).encode(SESSION)
    assert (sealed_under(payload) is not None) is sealed


def test_a_secret_that_is_missing_never_means_plain() -> None:
    with pytest.raises(ValueError, match="secret"):
        codec_for((), encrypt=True)


async def test_a_copy_of_the_database_signs_nobody_in(tmp_path: Path) -> None:
    token, key = keys_of_tokens()
    session = replace(a_session(now=time.time()), key=key)
    store = SqliteStore(str(tmp_path / "sessions.db"), codec=SealedCodec([NEW]))
    await store.open()
    await store.create(session)
    copy = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for word in (token, NEW, "Countess", "ada@example.com", "reports:read", "Mozilla", "cart"):
        assert word.encode() not in copy
    # Whoever has the copy knows the keys; but a key is the hash of what a cookie has to hold.
    rows = by_hand(tmp_path / "sessions.db", "SELECT key, id FROM sessions")
    assert rows == [(key, session.id)]
    assert token not in key
    await store.close()


async def test_who_can_write_to_the_database_cannot_swap_sessions(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "sessions.db"), codec=SealedCodec([NEW]))
    await store.open()
    victim, own = a_session(now=time.time()), a_session(now=time.time())
    await store.create(victim)
    await store.create(own)
    by_hand(
        tmp_path / "sessions.db",
        "UPDATE sessions SET record = (SELECT record FROM sessions WHERE key = ?) WHERE key = ?",
        victim.key,
        own.key,
    )
    with capture_logs() as logs:
        assert await store.load([own.key, victim.key]) == [None, victim]
    assert [line["event"] for line in logs] == ["corrupt_record"]
    await store.close()


def by_hand(file: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    db = sqlite3.connect(file, isolation_level=None)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def test_sealing_takes_its_nonces_from_the_system() -> None:
    asked: list[int] = []

    def random(length: int) -> bytes:
        asked.append(length)
        return os.urandom(length)

    SealedCodec([NEW], random=random).encode(SESSION)
    assert asked == [12]
