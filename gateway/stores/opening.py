"""From the URL of a store to the store."""

from __future__ import annotations

from gateway.errors import StoreUnavailable
from gateway.rules import postgres_urls, redis_urls
from gateway.rules.adapter_tables import Tables
from gateway.stores.codec import PLAIN
from gateway.stores.protocol import Codec, SessionStore

SCHEMES = ("memory", "sqlite", *redis_urls.SCHEMES, *postgres_urls.SCHEMES)
"""What ``session.store`` may begin with."""


def open_store(
    url: str, *, timeout: float, codec: Codec = PLAIN, app: Tables | None = None
) -> SessionStore:
    """Return the store at this URL, not yet opened.

    Only the chosen store's driver is imported.

    Args:
        timeout: Seconds any call of the store may take.
        codec: What a store keeps of a session; memory keeps the session itself.
        app: Tables there in which an app finds the sessions as well.

    Raises:
        StoreUnavailable: No store can be at such a URL.
    """
    scheme, separator, rest = url.partition("://")
    match scheme if separator else "":
        case "nowhere":
            from gateway.stores.nowhere import Nowhere

            return Nowhere()
        case "memory":
            from gateway.stores.memory import MemoryStore

            return MemoryStore()
        case "sqlite" if rest.strip("/"):
            from gateway.stores.sqlite import SqliteStore

            # Three slashes and a relative path, or four and an absolute one, as is usual.
            return SqliteStore(rest.removeprefix("/"), timeout=timeout, codec=codec)
        case _ if scheme in redis_urls.SCHEMES:
            from gateway.stores.redis import RedisStore

            return RedisStore(url, timeout=timeout, codec=codec)
        case _ if scheme in postgres_urls.SCHEMES:
            from gateway.stores.postgres import PostgresStore

            store = PostgresStore(url, timeout=timeout, codec=codec)
            if app is None:
                return store
            from gateway.stores.foreign.app_rows import AppRows
            from gateway.stores.mirrored import MirroredSessions

            return MirroredSessions(store, AppRows(url, app, timeout=timeout))
        case _:
            # The URL may hold a password: not even a part of it is repeated.
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise StoreUnavailable(f"session.store is no URL of a store: expected one of {known}")
