"""How sessions lie in Redis: names of keys, the form of a value, the scripts that write them."""

from __future__ import annotations

import math

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionId, SessionKey
from gateway.stores.protocol import Codec

PREFIX = "gateway:session:"

# Before the record stand the two times that move, in fixed width so that a touch overwrites them in
# place. Seven decimals keep every float after 2001 exactly as it is.
_TIME = 20
_HEADER = 2 * _TIME

# One step each, so that no crash leaves a session that its user's list does not name.
CREATE = """
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
redis.call('PEXPIREAT', KEYS[3], redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('PEXPIREAT', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
"""
# GETRANGE of a key that is gone is empty. Of two touches the later one counts.
TOUCH = """
local touched = tonumber(redis.call('GETRANGE', KEYS[1], 0, 19))
local expires = tonumber(redis.call('GETRANGE', KEYS[1], 20, 39))
if not touched or touched > tonumber(ARGV[1]) then return 0 end
if not expires or expires <= tonumber(ARGV[4]) then return 0 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[1] .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return 1
"""


def read(key: SessionKey, value: bytes, codec: Codec) -> Session:
    """Return the session in a value; CorruptRecord when there is none."""
    try:
        touched_at, expires_at = float(value[:_TIME]), float(value[_TIME:_HEADER])
    except ValueError as exc:
        raise CorruptRecord("no times before the record") from exc
    return codec.decode(key, value[_HEADER:], touched_at, expires_at)


def write(session: Session, codec: Codec) -> bytes:
    """Return the value that holds a session."""
    return (digits(session.touched_at) + digits(session.expires_at)).encode() + codec.encode(
        session
    )


def digits(time: float) -> str:
    """Return a time in the fixed width of the value's first two fields."""
    return f"{time:0{_TIME}.7f}"


def milliseconds(time: float) -> int:
    """Return a time as Redis counts them."""
    # Rounded up: the times in the value decide, Redis only clears away.
    return math.ceil(time * 1000)


def id_key(session_id: SessionId) -> str:
    """Return the name under which a session's key is found by its public id."""
    return f"gateway:id:{session_id}"


def user_key(user_id: str) -> str:
    """Return the name of the sorted set of a user's session keys."""
    return f"gateway:user:{user_id}"
