"""Where sessions are: in a store, or in their cookies. ``session.strategy``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.config.config import NOWHERE, SessionConfig
from gateway.formats import token
from gateway.server.session_cookie import SealedCookies, SessionCookies, TokenCookie
from gateway.stores.cached import CachedSessions
from gateway.stores.keeper import Keeper
from gateway.stores.live import LiveSessions
from gateway.stores.protocol import SessionStore

if TYPE_CHECKING:
    from gateway.formats.cookie_seal import CookieSeal
    from gateway.stores.sealed_sessions import SealedSessions


class Strategy(Protocol):
    """What one process needs to know of sessions; lasts as long as it does."""

    sessions: LiveSessions

    def keeper(self, config: SessionConfig) -> Keeper:
        """Return what begins and ends sessions under a configuration."""
        ...

    def cookies(self, config: SessionConfig) -> SessionCookies:
        """Return what reads and writes their cookies."""
        ...

    def use(self, config: SessionConfig) -> None:
        """Go by this configuration from now on."""
        ...


def kind_of(config: SessionConfig, store: SessionStore, wall: Callable[[], float]) -> Strategy:
    """Return the strategy of a configuration."""
    if config.strategy == "jwt":
        return _Jwt(config, store, wall)
    return _Server(config, store, wall)


def _cached(
    config: SessionConfig, store: SessionStore, wall: Callable[[], float]
) -> CachedSessions:
    return CachedSessions(store, enabled=config.cache, lifetime=config.lifetime, wall=wall)


def keeper_of(config: SessionConfig, store: SessionStore) -> Keeper:
    """Return what begins and ends sessions from outside: nobody presents a cookie there."""
    if config.strategy == "jwt":
        return _sealed_keeper(config, store, None, time.time)
    return _keeper(config, store, time.time)


class _Server:
    def __init__(
        self, config: SessionConfig, store: SessionStore, wall: Callable[[], float]
    ) -> None:
        self._store = store
        self._wall = wall
        self.sessions: LiveSessions = _cached(config, store, wall)

    def keeper(self, config: SessionConfig) -> Keeper:
        return _keeper(config, self._store, self._wall)

    def cookies(self, config: SessionConfig) -> SessionCookies:
        key_of = token.key_of if config.new_token is None else token.key_of_any
        if config.tables is not None:
            key_of = token.itself_of
        return TokenCookie(config.cookie, key_of)

    def use(self, config: SessionConfig) -> None:
        """Do nothing: a token means the same under every configuration."""


class _Jwt:
    def __init__(
        self, config: SessionConfig, store: SessionStore, wall: Callable[[], float]
    ) -> None:
        from gateway.stores.sealed_sessions import SealedSessions  # brings cryptography

        self._store = store
        self._wall = wall
        self._sealed = SealedSessions(
            store,
            None if config.store == NOWHERE else _cached(config, store, wall),
            ring=seal_of(config),
            lifetime=config.lifetime,
            wall=wall,
        )
        self.sessions: LiveSessions = self._sealed

    def keeper(self, config: SessionConfig) -> Keeper:
        return _sealed_keeper(config, self._store, self._sealed, self._wall)

    def cookies(self, config: SessionConfig) -> SessionCookies:
        from gateway.stores.presented import presented

        return SealedCookies(config.cookie, presented)

    def use(self, config: SessionConfig) -> None:
        self._sealed.use(seal_of(config))


def _keeper(config: SessionConfig, store: SessionStore, wall: Callable[[], float]) -> Keeper:
    return Keeper(
        store,
        config.lifetime,
        max_per_user=config.max_per_user,
        new_token=config.new_token,
        key_for=token.key_for if config.tables is None else token.itself_for,
        wall=wall,
    )


def _sealed_keeper(
    config: SessionConfig,
    store: SessionStore,
    sessions: SealedSessions | None,
    wall: Callable[[], float],
) -> Keeper:
    from gateway.stores.sealed_keeper import SealedKeeper

    return SealedKeeper(
        store,
        config.lifetime,
        ring=seal_of(config),
        cookie=config.cookie.name,
        piece=config.cookie.piece,
        sessions=sessions,
        max_per_user=config.max_per_user,
        wall=wall,
    )


def seal_of(config: SessionConfig) -> CookieSeal:
    """Return what seals and opens cookies that hold sessions."""
    name = config.cookie.name
    if config.format == "gateway":
        from gateway.formats.sealed import KeyRing

        return KeyRing(config.secrets, name)
    from gateway.formats import authjs, nextauth
    from gateway.formats.framework_cookie import FrameworkSeal

    codec = nextauth if config.format == "nextauth" else authjs
    return FrameworkSeal(codec, config.secrets, name, idle_timeout=config.lifetime.idle_timeout)
