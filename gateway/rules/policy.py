"""Decide what happens to a request: allow, challenge or deny."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from gateway.errors import Reason
from gateway.model import Access, Allow, Caller, Challenge, Decision, Deny, Network, Route, Rules
from gateway.rules.roles import holds, holds_any


def decide(
    found: Route | tuple[str, ...], caller: Caller | None, *, client: str, fallback: Route
) -> Decision:
    """Say what happens to a request. A failed rule is a refusal, never "try the next route".

    Args:
        found: What ``routes.find`` returned: the owning route, or the methods that are listed.
        caller: Who asks, from a session that is not over; None on routes that ask nobody.
        client: Address of the client as far as it can be trusted.
        fallback: The stand-in for requests that no route owns; its refusal has its own reason.
    """
    if isinstance(found, tuple):
        return Deny(reason=Reason.METHOD, allow=found)
    route = found
    if route.access is Access.DENY:
        return Deny(reason=Reason.NO_ROUTE if route is fallback else Reason.DENIED, route=route)
    rules = route.rules
    if rules.networks and not in_networks(client, rules.networks):
        return Deny(reason=Reason.WRONG_NETWORK, route=route)
    if route.access is Access.PUBLIC:  # loading refuses identity rules on such a route
        return Allow(route=route)
    if caller is None:
        if route.access is Access.LOGIN or rules.about_identity:
            return Challenge(route=route)
        return Allow(route=route)
    reason = broken_rule(rules, caller)
    if reason is not None:
        return Deny(reason=reason, route=route)
    return Allow(route=route, caller=caller)


def broken_rule(rules: Rules, caller: Caller) -> Reason | None:
    """Return why a caller may not pass, or None if every rule holds."""
    if rules.users and caller.user.id not in rules.users:
        return Reason.WRONG_USER
    if not caller.roles.issuperset(rules.all_roles):
        return Reason.MISSING_ROLE
    if rules.any_role and caller.roles.isdisjoint(rules.any_role):
        return Reason.MISSING_ROLE
    if rules.all_permissions and not holds(caller.permissions, rules.all_permissions):
        return Reason.MISSING_PERMISSION
    if rules.any_permission and not holds_any(caller.permissions, rules.any_permission):
        return Reason.MISSING_PERMISSION
    return None


def in_networks(client: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One thing that a route asks for, and whether it holds."""

    rule: str
    """As the file calls it; ``access`` is one, too."""
    wanted: tuple[str, ...]
    holds: bool


def checked_rules(route: Route, caller: Caller | None, *, client: str) -> tuple[Checked, ...]:
    """Return all that a route asks for: what ``decide`` allows is where everything holds."""
    rules = route.rules
    entered = route.access is not Access.DENY and (
        caller is not None or route.access is not Access.LOGIN
    )
    asked = [
        ("user", tuple(sorted(rules.users)), Rules(users=rules.users)),
        (_one(rules.all_roles, "role", "all_roles"), rules.all_roles,
         Rules(all_roles=rules.all_roles)),
        ("any_role", rules.any_role, Rules(any_role=rules.any_role)),
        (_one(rules.all_permissions, "permission", "all_permissions"), rules.all_permissions,
         Rules(all_permissions=rules.all_permissions)),
        ("any_permission", rules.any_permission, Rules(any_permission=rules.any_permission)),
    ]  # fmt: skip
    checked = [Checked(rule="access", wanted=(route.access,), holds=entered)]
    if rules.networks:
        networks = tuple(map(str, rules.networks))
        holds = in_networks(client, rules.networks)
        checked.append(Checked(rule="network", wanted=networks, holds=holds))
    for name, wanted, alone in asked:
        if wanted:
            holds = caller is not None and broken_rule(alone, caller) is None
            checked.append(Checked(rule=name, wanted=wanted, holds=holds))
    return tuple(checked)


def _one(names: tuple[str, ...], singular: str, plural: str) -> str:
    return singular if len(names) == 1 else plural
