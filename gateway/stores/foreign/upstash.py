"""Sessions that the Upstash Redis adapter of NextAuth and Auth.js keeps in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.formats import adapter, js_dates
from gateway.formats.adapter import SessionRecord
from gateway.formats.foreign import Refused
from gateway.model import Session, SessionId, SessionKey
from gateway.redis.asking import Asking
from gateway.stores.foreign.adapter_reading import Reading
from gateway.stores.foreign.protocol import SessionOf, askable
from gateway.stores.protocol import Watcher
from gateway.stores.redis_changes import Changes

_SESSION = "session:"
_MOST_KNOWN = 100_000


class UpstashSessions:
    """A ``LookupStore`` on the adapter's keys: ``user:session:<token>`` and ``user:<id>``.

    No key has an end: what expired stays until the app meets it, and is no session meanwhile.

    Args:
        prefix: The adapter's ``baseKeyPrefix``.
        touch: Whether the gateway moves expiries; otherwise it writes nothing.
        setting: Where the URL is written, for messages.
    """

    def __init__(
        self,
        url: str,
        session_of: SessionOf,
        *,
        prefix: str = "",
        touch: bool = False,
        max_age: float = adapter.MAX_AGE,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        setting: str = "store",
    ) -> None:
        self._prefix = prefix + "user:"
        self._reading = Reading(session_of, max_age=max_age, wall=wall, store="nextauth-database")
        self._max_age = max_age
        self._writes = touch
        self._wall = wall
        self._redis = Asking(url, timeout, setting=setting)
        self._changes = Changes(
            self._redis.servers, timeout, prefix=self._prefix, keys=self._concerned
        )
        # Whose copies are true no longer when a user changes: all that were ever read of them.
        self._read_of: dict[str, set[SessionKey]] = {}
        self._known = 0

    async def open(self) -> None:
        """Return if Redis answers."""
        await self.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._changes.close()
        await self._redis.close()

    async def ping(self) -> None:
        """Return if Redis answers."""
        await self._redis.ping()

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key; the users take a second round trip."""
        wanted = askable(keys)
        values = await self._values([_SESSION + key for key in wanted])
        records = {
            key: record
            for key, value in zip(wanted, values, strict=True)
            if value is not None and (record := self._record(key, value)) is not None
        }
        # Before the users are read: a change of one while that is under way concerns the answer.
        for key, record in records.items():
            self._remember(record.user_id, key)
        ids = list(dict.fromkeys(record.user_id for record in records.values()))
        users = dict(zip(ids, await self._values(ids), strict=True))
        found = {
            key: self._session(key, record, users[record.user_id])
            for key, record in records.items()
        }
        return [found.get(key) for key in keys]

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there, as the framework does: never back."""
        if not self._writes:
            return True
        [value] = await self._values([_SESSION + session.key])
        if value is None:
            return False
        record = self._record(session.key, value)
        to = js_dates.now_ms(session.touched_at + self._max_age)
        if record is None or record.expires >= to:
            return False
        # All that the adapter may have put there stays; XX: what was deleted does not come back.
        moved = {**msgspec.json.decode(value), "expires": js_dates.iso(to)}
        name = self._prefix + _SESSION + session.key
        [done] = await self._redis.run([("SET", name, msgspec.json.encode(moved), "XX", "KEEPTTL")])
        return done is not None

    async def find(self, session_id: SessionId) -> Session | None:
        """Return nothing: no key leads from our public ids."""
        return None

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _values(self, names: Sequence[str]) -> list[bytes | None]:
        if not names:
            return []
        full = [self._prefix + name for name in names]
        values: list[bytes | None] = await self._redis.call(
            lambda: self._redis.servers.values(full)
        )
        return values

    def _record(self, key: SessionKey, value: bytes) -> SessionRecord | None:
        try:
            record = adapter.session_of_json(value, key)
        except Refused as exc:
            self._reading.report(exc)
            return None
        return record if self._reading.sees(record) else None

    def _session(
        self, key: SessionKey, record: SessionRecord, value: bytes | None
    ) -> Session | None:
        try:
            user = adapter.user_of_json(value, record.user_id)
        except Refused as exc:
            self._reading.report(exc)
            return None
        return self._reading.session(key, record, user)

    def _remember(self, user_id: str, key: SessionKey) -> None:
        keys = self._read_of.setdefault(user_id, set())
        if key in keys:
            return
        keys.add(key)
        self._known += 1
        if self._known > _MOST_KNOWN:
            self._read_of = {user_id: {key}}
            self._known = 1
            self._changes.tell_all()

    def _concerned(self, name: str) -> Iterable[SessionKey]:
        yield from self._read_of.get(name, ())
        if name.startswith(_SESSION):
            yield SessionKey(name.removeprefix(_SESSION))
