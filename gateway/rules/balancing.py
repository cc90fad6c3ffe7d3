"""Which target gets a request; who is left alone for a while, and how they come back.

Weights stand in the order of the targets; zero is a target that may not be chosen now. The choices
return its place in that order, and None where every weight is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

FAILURES = 3
"""So many in a row, and a target is ejected: one connection may always break."""
FIRST_EJECTION = 1.0
"""Seconds; each further one in a row lasts twice as long. Short at first: it is only a guess."""
LONGEST_EJECTION = 60.0
RETURN = 10.0
"""Seconds in which a target that comes back grows into its share: its caches are cold, and one
that fails again should cost few requests."""
_LEAST_SHARE = 0.1


# --- who gets a request ----------------------------------------------------------------------


def in_turn(
    credits: Sequence[float],  # noqa: A002  the name that this algorithm gives them
    weights: Sequence[float],
) -> tuple[int | None, tuple[float, ...]]:
    """Choose in turn, by weight, and as evenly as weights allow: a a b a, never a a a b.

    Args:
        credits: What the last choice returned beside the target; zeros at first.

    Source: nginx's smooth weighted round robin.
    """
    total = sum(weights)
    if total <= 0:
        return None, tuple(credits)
    raised, chosen, most = [], 0, -math.inf
    for at, weight in enumerate(weights):
        credit = credits[at] + weight
        raised.append(credit)
        if weight > 0 and credit > most:
            chosen, most = at, credit
    raised[chosen] -= total
    return chosen, tuple(raised)


def least_loaded(loads: Sequence[int], weights: Sequence[float]) -> tuple[float, ...]:
    """Return the weights of those that have least to do for their weight, and zero for others."""
    rates = [
        load / weight if weight > 0 else math.inf
        for load, weight in zip(loads, weights, strict=True)
    ]
    least = min(rates)
    return tuple(w if rate == least else 0.0 for rate, w in zip(rates, weights, strict=True))


def sticky(affinity: str, names: Sequence[str], weights: Sequence[float]) -> int | None:
    """Choose the same target for the same affinity, in every process and after every reload.

    When a target goes, only what was on it moves, and spreads over the rest; when its weight falls,
    only part of what was on it.

    Source: Thaler and Ravishankar, rendezvous hashing; weights as in Schindelhauer and Schomaker.
    """
    best, chosen = 0.0, None
    key = affinity.encode("utf-8", "surrogateescape") + b"\0"
    for at, weight in enumerate(weights):
        if weight > 0:
            drawn = int.from_bytes(blake2b(key + names[at].encode(), digest_size=8).digest())
            score = -weight / math.log(((drawn >> 12) + 0.5) / 2**52)
            if score > best:
                best, chosen = score, at
    return chosen


# --- who may be chosen -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What the requests that a target was given say of it."""

    failures: int = 0
    """In a row."""
    ejections: int = 0
    """In a row: without ``RETURN`` seconds between them in which it answered."""
    back_at: float = -math.inf
    """When it came back or, if that is to come, until when it is left alone."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the active checks say of a target. Unchecked, it is up."""

    up: bool = True
    checked: bool = False
    contrary: int = 0
    """Checks in a row that said the contrary."""


def after_failure(standing: Standing, now: float) -> Standing:
    """Note that a target could not be reached, or did not answer in HTTP or in time."""
    if now < standing.back_at:  # under way since before: it is left alone already
        return standing
    failures = standing.failures + 1
    if failures < FAILURES:
        return Standing(failures, standing.ejections, standing.back_at)
    pause = min(FIRST_EJECTION * 2.0 ** min(standing.ejections, 16), LONGEST_EJECTION)
    return Standing(failures, standing.ejections + 1, now + pause)


def after_success(standing: Standing, now: float) -> Standing:
    """Note that a target answered; with which status is the application's business."""
    if not standing.failures and not standing.ejections:
        return standing
    settled = now >= standing.back_at + RETURN
    return Standing(0, 0 if settled else standing.ejections, standing.back_at)


def after_check(
    health: Health, *, passed: bool, healthy_after: int, unhealthy_after: int
) -> Health:
    """Note the outcome of a check. The first one decides at once; a change needs several."""
    if not health.checked:
        return Health(passed, checked=True)
    if passed == health.up:
        return Health(passed, checked=True)
    contrary = health.contrary + 1
    if contrary >= (healthy_after if passed else unhealthy_after):
        return Health(passed, checked=True)
    return Health(health.up, checked=True, contrary=contrary)


def share(weight: float, standing: Standing, now: float) -> float:
    """Return what a target's weight comes to now: nothing while ejected, little just after."""
    away = now - standing.back_at
    if away >= RETURN:
        return weight
    return weight * max(_LEAST_SHARE, away / RETURN) if away >= 0 else 0.0


def shares(
    weights: Sequence[float], ups: Sequence[bool], standings: Sequence[Standing], now: float
) -> tuple[float, ...]:
    """Return every target's weight now.

    An ejection is a guess, and a failed check is knowledge: where all that are up are ejected, they
    are tried nevertheless; those that are down are not.
    """
    wanted = tuple(
        share(weight, standing, now) if up else 0.0
        for weight, up, standing in zip(weights, ups, standings, strict=True)
    )
    if any(wanted):
        return wanted
    return tuple(weight if up else 0.0 for weight, up in zip(weights, ups, strict=True))


def usual_from(ups: Sequence[bool], standings: Sequence[Standing]) -> float:
    """Return from when on ``shares`` are the weights themselves, if nothing happens until then."""
    if not all(ups):
        return math.inf
    return max(standing.back_at for standing in standings) + RETURN
