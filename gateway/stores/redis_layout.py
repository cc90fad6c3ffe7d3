"""How sessions lie in Redis: names of keys, the form of a value, the scripts that write them.

Every script touches a single key, so that all of it works on a Cluster, where the keys of a session
lie on different servers.
"""

from __future__ import annotations

import math

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionId, SessionKey
from gateway.redis.link import Command
from gateway.redis.script import Script
from gateway.stores.protocol import Codec

PREFIX = "gateway:session:"

# Before the record stand the two times that move, in fixed width so that a touch overwrites them in
# place. Seven decimals keep every float after 2001 exactly as it is.
_TIME = 20
_HEADER = 2 * _TIME

# Adds a session to a user's list, which lives as long as the last of them may. What should have
# ended by now goes. Times count from our own clock: that of Redis may go wrong. (PEXPIRE with GT
# would need Redis 7, and would leave a new list without end.)
_ENLIST = Script("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if not last then return 0 end
return redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last - ARGV[3]))
""")
# An id leads to the keys under which its session may be: two while its token is renewed.
_LEAD = Script("""
local keys = redis.call('GET', KEYS[1])
if keys and not string.find(keys, ARGV[1], 1, true) then keys = keys .. ' ' .. ARGV[1] end
return redis.call('SET', KEYS[1], keys or ARGV[1], 'PX', ARGV[2])
""")
_UNLEAD = Script("""
local keys = redis.call('GET', KEYS[1])
if not keys then return 0 end
local left = {}
for key in string.gmatch(keys, '%S+') do if key ~= ARGV[1] then left[#left + 1] = key end end
if #left == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], table.concat(left, ' '), 'KEEPTTL')
return 1
""")
# GETRANGE of a key that is gone is empty. Of two touches the later one counts.
_TOUCH = Script("""
local touched = tonumber(redis.call('GETRANGE', KEYS[1], 0, 19))
local expires = tonumber(redis.call('GETRANGE', KEYS[1], 20, 39))
if not touched or touched > tonumber(ARGV[1]) then return 0 end
if not expires or expires <= tonumber(ARGV[4]) then return 0 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[1] .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")
# Both write only over the record that was read: whoever changed or ended it meanwhile comes first.
_UPDATE = Script("""
if redis.call('GETRANGE', KEYS[1], 40, -1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], redis.call('GETRANGE', KEYS[1], 0, 39) .. ARGV[2], 'KEEPTTL')
return 1
""")
_SWAP = Script("""
if redis.call('GETRANGE', KEYS[1], 40, -1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
_TAKE = Script("""
local value = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return value
""")


def read(codec: Codec, key: SessionKey, value: bytes) -> Session:
    """Return the session in a value; CorruptRecord when there is none."""
    try:
        touched_at, expires_at = float(value[:_TIME]), float(value[_TIME:_HEADER])
    except ValueError as exc:
        raise CorruptRecord("no times before the record") from exc
    return codec.decode(key, value[_HEADER:], touched_at, expires_at)


def record(value: bytes) -> bytes:
    """Return the part of a value that a touch leaves as it is."""
    return value[_HEADER:]


def value(codec: Codec, session: Session) -> bytes:
    """Return the value that holds a session."""
    return (_digits(session.touched_at) + _digits(session.expires_at)).encode() + codec.encode(
        session
    )


def name(key: SessionKey) -> str:
    """Return the name under which a session is kept."""
    return PREFIX + key


def put(session: Session, value: bytes, now: float) -> Command:
    """Keep a value until its session expires, where there is none."""
    return ("SET", name(session.key), value, "PX", _left(session.expires_at, now), "NX")


def take(key: SessionKey) -> Command:
    """End a session, and answer with its value."""
    return ("EVALSHA", _TAKE, 1, name(key))


def touch(session: Session, now: float) -> Command:
    """Move the expiry of a session that is still there."""
    return (
        *("EVALSHA", _TOUCH, 1, name(session.key)),
        *(_digits(session.touched_at), _digits(session.expires_at)),
        *(_left(session.expires_at, now), _digits(now)),
    )


def update(key: SessionKey, before: bytes, after: bytes) -> Command:
    """Put one record in another's place, if that is still there; the times stay."""
    return ("EVALSHA", _UPDATE, 1, name(key), before, after)


def swap(key: SessionKey, before: bytes, value: bytes, seconds: float) -> Command:
    """Put a value in a record's place, if that is still there, for so many seconds."""
    return ("EVALSHA", _SWAP, 1, name(key), before, value, _left(seconds, 0.0))


def index(session: Session, now: float) -> list[Command]:
    """Write down where a session is about to be: by its id, and in its user's list."""
    left = _left(session.ends_at, now)
    commands: list[Command] = [("EVALSHA", _LEAD, 1, id_name(session.id), session.key, left)]
    if not session.anonymous:
        ends, by = math.ceil(session.ends_at * 1000), math.ceil(now * 1000)
        user = user_name(session.user.id)
        commands.append(("EVALSHA", _ENLIST, 1, user, session.key, ends, by))
    return commands


def unindex(session: Session) -> list[Command]:
    """Forget where a session was."""
    commands: list[Command] = [("EVALSHA", _UNLEAD, 1, id_name(session.id), session.key)]
    if not session.anonymous:
        commands.append(("ZREM", user_name(session.user.id), session.key))
    return commands


def id_name(session_id: SessionId) -> str:
    """Return the name under which a session's key is found by its public id."""
    return f"gateway:id:{session_id}"


def user_name(user_id: str) -> str:
    """Return the name of the sorted set of a user's session keys."""
    return f"gateway:user:{user_id}"


def _digits(time: float) -> str:
    return f"{time:0{_TIME}.7f}"


def _left(end: float, now: float) -> int:
    # Rounded up: the times in the value decide, Redis only clears away. It takes no time of 0.
    return max(1, math.ceil((end - now) * 1000))
