"""What keeps several sources of users apart: names of cookies, and prefixes of ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.config.accepted import Accepted
from gateway.config.report import Report
from gateway.config.source import Path


class Prefixed(Protocol):
    """From where users come."""

    @property
    def id_prefix(self) -> str | None:
        """What its users' ids begin with; None: nothing was said."""


class OtherSource(Prefixed, Protocol):
    """A way to sign in at the gateway: users come from there as well."""

    @property
    def id(self) -> str:
        """What it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprefixed:
    """Sources of users whose ids are as they come, without a prefix."""

    accepted: tuple[str, ...] = ()
    """Names in ``session.accept``."""
    providers: tuple[str, ...] = ()
    """Ways to sign in; their ids are held apart when their files are read."""


def check_cookies(
    source: Accepted,
    path: Path,
    before: Sequence[tuple[int, Accepted]],
    own: Iterable[str],
    report: Report,
) -> None:
    """Note where a cookie of a source could be taken for another one.

    Args:
        before: The sources before it, with their places.
        own: Names of the gateway's own cookies.
    """
    where = (*path, "cookie") if report.value((*path, "cookie")) else path
    if any(_overlap(name, ours) for name in source.cookies for ours in own):
        report.error(where, "the gateway's own cookie has this name")
    for index, other in before:
        shared = any(_overlap(one, two) for one in source.cookies for two in other.cookies)
        if shared and source.forward_to != other.forward_to:
            message = (
                f"has a cookie in common with accept[{index}], so both need the same forward_to: "
                "nobody can tell whose it is"
            )
            report.error(where, message)


def _overlap(one: str, other: str) -> bool:
    """Whether two names are the same to somebody, pieces (``name.0``) included."""
    one, other = one.lower(), other.lower()
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def check_prefixes(
    accepted: Sequence[tuple[int, Prefixed]],
    providers: Sequence[tuple[int, Prefixed]],
    report: Report,
) -> tuple[str, ...]:
    """Hold sources to prefixes that keep their ids apart; return those that are not empty."""
    sources: list[tuple[Path, str | None]] = [
        *((("session", "accept", index), one.id_prefix) for index, one in accepted),
        *((("login", "providers", index), one.id_prefix) for index, one in providers),
    ]
    if accepted and len(sources) > 1:
        for at, (path, prefix) in enumerate(sources):
            _check_prefix(path, prefix, sources[:at], sources[at + 1 :], report)
    return tuple(prefix for _, prefix in sources if prefix)


def check_named_users(
    where: Path, accept: Sequence[str] | None, unprefixed: Unprefixed, report: Report
) -> None:
    """Note that a rule names users, and that people from several sources may have such an id.

    Args:
        accept: The sources that count where the rule is; None: all.
    """
    names = [name for name in unprefixed.accepted if accept is None or name in accept]
    if names and len(names) + len(unprefixed.providers) > 1:
        several = " and ".join((*names, *unprefixed.providers))
        report.error(where, f"users of {several} may have the same id: give each an id_prefix")


_Places = Sequence[tuple[Path, str | None]]


def _check_prefix(
    path: Path, prefix: str | None, before: _Places, after: _Places, report: Report
) -> None:
    where = (*path, "id_prefix")
    if not report.sound(*where):
        return
    if prefix is None:
        same = next((_entry(other) for other, theirs in (*before, *after) if not theirs), None)
        if same is not None:
            report.warn(
                path,
                f"id_prefix is missing: ids could be the same as those of {same}, so upstreams "
                "have to look at X-Auth-Provider as well as at X-User-Id",
            )
        return
    for other, theirs in before:
        if theirs is not None and _alike(prefix, theirs):
            message = f"ids could be the same as those of {_entry(other)}, which begin alike"
            report.error(where, message)
            return


def _entry(path: Path) -> str:
    return f"{path[1]}[{path[2]}]"


def _alike(one: str, other: str) -> bool:
    """Whether ids with one prefix could begin with the other. One of all may be empty: no id of
    that source may begin with any other's, which is seen to when they are read.
    """
    if not one or not other:
        return one == other
    return one.startswith(other) or other.startswith(one)
