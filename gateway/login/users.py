"""Signs in the people of a users file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from gateway.errors import BadCredentials, ConfigError, SignInBusy, TooManyAttempts
from gateway.login.passwords import Passwords, decoy, plausible
from gateway.login.throttle import Throttle
from gateway.model import User

_LONGEST_ID = 256
"""Characters. Longer ones are nobody."""

log = structlog.get_logger(__name__)


class UserEntry(Protocol):
    """One person, as the users file has them."""

    @property
    def id(self) -> str:
        """What they sign in with."""

    @property
    def password_hash(self) -> str:
        """The argon2id hash."""

    @property
    def name(self) -> str | None:
        """What they are called."""

    @property
    def email(self) -> str | None:
        """Where they get mail."""

    @property
    def roles(self) -> tuple[str, ...]:
        """As written, without what they inherit."""

    @property
    def disabled(self) -> bool:
        """Whether they may not sign in."""


LoadUsers = Callable[[str, str], Mapping[str, UserEntry]]
"""Understands the text of a users file, named by the second argument; raises ``ConfigError``."""

_Stamp = tuple[int, int, int]
"""What changes when a file does: time of change, size, inode."""


class UsersFile:
    """The people of one users file, read again whenever it changes.

    A new version that cannot be read or understood changes nothing and is logged once: a slip of
    the editor signs nobody out, and lets nobody in who was not let in before.
    """

    def __init__(
        self,
        *,
        provider: str,
        file: Path,
        load: LoadUsers,
        passwords: Passwords,
        clock: Callable[[], float],
        id_prefix: str = "",
        reserved: tuple[str, ...] = (),
    ) -> None:
        """Take what belongs to one provider.

        Args:
            id_prefix: Put in front of ids, once somebody is known.
            reserved: What no id here may begin with: prefixes of others.
        """
        self._id_prefix = id_prefix
        self._reserved = reserved
        self._provider = provider
        self._file = file
        self._load = load
        self._passwords = passwords
        self._clock = clock
        self._throttle = Throttle()
        self._users: Mapping[str, UserEntry] = {}
        self._decoy = decoy(())
        self._stamp: _Stamp | None = None
        self._reading = asyncio.Lock()

    def open(self) -> None:
        """Read the file for the first time.

        Raises:
            ConfigError: It is not a users file.
            OSError: It cannot be read.
            UnicodeError: It is not UTF-8.
        """
        self._stamp = self._now()
        self._read()

    async def authenticate(self, user_id: str, password: str, client: str = "") -> User:
        """Return the user whose password this is.

        Raises:
            BadCredentials: No such user, a wrong password or a disabled account; all three take
                the same time.
            TooManyAttempts: From this address too many attempts failed for this user.
            SignInBusy: Too many others are signing in.
        """
        # Neither can be right, and neither costs a check, so they must not count as attempts: the
        # memory of the throttle would be flushed with them.
        if len(user_id) > _LONGEST_ID or not plausible(password):
            raise BadCredentials("a user id or password beyond all bounds")
        wait = self._throttle.wait(user_id, client, self._clock())
        if wait:
            raise TooManyAttempts(wait)
        await self._refresh()
        user = self._users.get(user_id)
        try:
            matches = await self._passwords.matches(
                user.password_hash if user else self._decoy, password
            )
        except SignInBusy:
            self._throttle.withdraw(user_id, client)
            raise
        if user is None or user.disabled or not matches:
            raise BadCredentials("no such user, wrong password or disabled account")
        self._throttle.succeeded(user_id, client)
        if any(map(user.id.startswith, self._reserved)):
            log.error("user_refused", user=user.id, problem="begins as ids from elsewhere do")
            raise BadCredentials("an id that could be somebody else's")
        return User(
            id=self._id_prefix + user.id,
            provider=self._provider,
            name=user.name,
            email=user.email,
            roles=user.roles,
        )

    async def _refresh(self) -> None:
        async with self._reading:
            stamp = self._now()
            if stamp == self._stamp:
                return
            # Noted before reading: a change meanwhile is seen the next time, and a version that is
            # broken is neither read nor logged again until it changes.
            self._stamp = stamp
            try:
                await asyncio.to_thread(self._read)
            except (OSError, UnicodeError, ConfigError) as error:
                log.error("users_file_refused", file=str(self._file), problem=_brief(error))
            else:
                log.info("users_file_read", file=str(self._file), users=len(self._users))

    def _read(self) -> None:
        users = self._load(self._file.read_text(encoding="utf-8"), str(self._file))
        self._decoy = decoy(user.password_hash for user in users.values())
        self._users = users

    def _now(self) -> _Stamp | None:
        try:
            status = os.stat(self._file)  # noqa: PTH116 - one system call, no detour
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _brief(error: Exception) -> str:
    # What a decoder says quotes the bytes it failed at, and those may be a password's.
    return "not UTF-8" if isinstance(error, UnicodeError) else str(error)
