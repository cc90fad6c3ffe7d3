"""The tables of the PostgreSQL store, and how an older database becomes a current one."""

from __future__ import annotations

from typing import Any

from gateway.errors import StoreUnavailable

CHANNEL = "gateway_sessions"
"""Of NOTIFY: the payload is the key of a session that changed or went; empty: all of them."""

# An arbitrary number, so that of several gateways that start at once one makes the tables.
_LOCK = 0x67617465776179

# One entry a version, never changed once released, only added to. Gateways of the version before
# go on working while a newer one starts, so a step may add and must not take away.
#
# Compared byte by byte ("C"): what has no language needs no rules of one, which an update of the
# operating system may change under an index.
#
# Triggers tell of changes, so that what somebody does by hand is heard as well; ALWAYS, so that
# even a restored dump or a replica's apply process is. A touch only lengthens a session and what
# expired is refused by every clock, so neither tells: a NOTIFY makes commits wait for each other.
_VERSIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE gateway_sessions (
            key        text COLLATE "C" PRIMARY KEY,
            id         text COLLATE "C" UNIQUE,
            user_id    text COLLATE "C",
            record     bytea NOT NULL,
            touched_at double precision NOT NULL,
            expires_at double precision NOT NULL,
            ends_at    double precision NOT NULL
        )
        """,
        """
        CREATE INDEX gateway_sessions_by_user ON gateway_sessions (user_id)
        WHERE user_id IS NOT NULL
        """,
        "CREATE INDEX gateway_sessions_by_expiry ON gateway_sessions (expires_at)",
        """
        CREATE FUNCTION gateway_session_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify(
                'gateway_sessions', CASE TG_OP WHEN 'TRUNCATE' THEN '' ELSE left(OLD.key, 64) END
            );
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER gateway_session_deleted AFTER DELETE ON gateway_sessions FOR EACH ROW
        WHEN (OLD.expires_at > extract(epoch FROM now()))
        EXECUTE FUNCTION gateway_session_changed()
        """,
        """
        CREATE TRIGGER gateway_session_updated AFTER UPDATE ON gateway_sessions FOR EACH ROW
        WHEN (NEW.key <> OLD.key OR NEW.record <> OLD.record OR NEW.expires_at < OLD.expires_at)
        EXECUTE FUNCTION gateway_session_changed()
        """,
        """
        CREATE TRIGGER gateway_sessions_truncated AFTER TRUNCATE ON gateway_sessions
        FOR EACH STATEMENT EXECUTE FUNCTION gateway_session_changed()
        """,
        "ALTER TABLE gateway_sessions ENABLE ALWAYS TRIGGER gateway_session_deleted",
        "ALTER TABLE gateway_sessions ENABLE ALWAYS TRIGGER gateway_session_updated",
        "ALTER TABLE gateway_sessions ENABLE ALWAYS TRIGGER gateway_sessions_truncated",
    ),
)
SCHEMA_VERSION = len(_VERSIONS)

WATCHED = """
SELECT oid FROM pg_class WHERE oid = to_regclass('gateway_sessions') AND NOT pg_is_in_recovery()
AND 3 = (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgenabled = 'A')
"""
"""Names the table whose changes are told; nothing where some are not."""


async def migrate(connection: Any) -> None:
    """Make the tables what this version expects, once, however many gateways start together.

    Raises:
        StoreUnavailable: A newer gateway has made them.
    """
    if await _version(connection) == SCHEMA_VERSION:
        return  # without a lock, so that a role that may not make tables can use them
    # Before the transaction: one that began while we waited would not see what was made meanwhile.
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    async with connection.transaction():
        version = await _version(connection)
        if version == 0:
            await connection.execute("CREATE TABLE gateway_schema (version integer NOT NULL)")
            await connection.execute("INSERT INTO gateway_schema VALUES (0)")
        for statements in _VERSIONS[version:]:
            for statement in statements:
                await connection.execute(statement)
        await connection.execute("UPDATE gateway_schema SET version = $1", SCHEMA_VERSION)
    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _version(connection: Any) -> int:
    if await connection.fetchval("SELECT to_regclass('gateway_schema')") is None:
        return 0
    version: int | None = await connection.fetchval("SELECT max(version) FROM gateway_schema")
    if version is None or version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the session database was made by a newer gateway: its schema is {version}, "
            f"this gateway knows up to {SCHEMA_VERSION}"
        )
    return version
