from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Reason
from gateway.model import Access, Allow, Caller, Challenge, Decision, Deny, Route, Rules, User
from gateway.rules.policy import broken_rule, checked_rules, decide, in_networks

FALLBACK = Route(id="none", access=Access.DENY)
OFFICE = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"


def route(access: Access = Access.LOGIN, **rules: Any) -> Route:
    return Route(id="r", line=7, access=access, rules=Rules(**rules))


def caller(user: str = "ada", *, roles: str = "", permissions: str = "") -> Caller:
    return Caller(
        user=User(id=user),
        roles=frozenset(roles.split()),
        permissions=frozenset(permissions.split()),
    )


def said(decision: Decision) -> str:
    """Say a decision in two words."""
    match decision:
        case Allow(caller=None):
            return "allow nobody"
        case Allow():
            return "allow ada"
        case Challenge():
            return "challenge"
        case Deny(reason=reason):
            return f"deny {reason}"


ADMINS: dict[str, Any] = {"all_roles": ("admin",)}
AT_OFFICE: dict[str, Any] = {"networks": OFFICE}


@pytest.mark.parametrize(
    ("owner", "who", "client", "expected"),
    [
        pytest.param(route(Access.PUBLIC), None, OUTSIDE, "allow nobody", id="public"),
        pytest.param(route(Access.PUBLIC), caller(), OUTSIDE, "allow nobody",
                     id="public passes no identity"),
        pytest.param(route(Access.PUBLIC, **AT_OFFICE), None, INSIDE, "allow nobody",
                     id="public, right network"),
        pytest.param(route(Access.PUBLIC, **AT_OFFICE), None, OUTSIDE, "deny wrong_network",
                     id="public, wrong network"),
        pytest.param(route(Access.OPTIONAL), None, OUTSIDE, "allow nobody", id="optional, nobody"),
        pytest.param(route(Access.OPTIONAL), caller(), OUTSIDE, "allow ada", id="optional, ada"),
        pytest.param(route(Access.OPTIONAL, **ADMINS), None, OUTSIDE, "challenge",
                     id="optional with a rule asks who it is"),
        pytest.param(route(Access.OPTIONAL, **ADMINS), caller(), OUTSIDE, "deny missing_role",
                     id="optional with a rule refuses"),
        pytest.param(route(Access.OPTIONAL, **AT_OFFICE), None, INSIDE, "allow nobody",
                     id="a network is no question of who it is"),
        pytest.param(route(), None, OUTSIDE, "challenge", id="login, nobody"),
        pytest.param(route(), caller(), OUTSIDE, "allow ada", id="login, ada"),
        pytest.param(route(**ADMINS), None, OUTSIDE, "challenge", id="login and role, nobody"),
        pytest.param(route(**ADMINS), caller(roles="admin"), OUTSIDE, "allow ada", id="role"),
        pytest.param(route(**AT_OFFICE), None, OUTSIDE, "deny wrong_network",
                     id="signing in would not help outside the network"),
        pytest.param(route(**AT_OFFICE), None, INSIDE, "challenge", id="network holds, nobody"),
        pytest.param(route(**AT_OFFICE), caller(), INSIDE, "allow ada", id="network holds, ada"),
        pytest.param(route(**AT_OFFICE), caller(), "", "deny wrong_network",
                     id="a Unix socket is in no network"),
        pytest.param(route(Access.DENY), None, INSIDE, "deny denied", id="deny"),
        pytest.param(route(Access.DENY), caller(permissions="*"), INSIDE, "deny denied",
                     id="deny everybody"),
        pytest.param(FALLBACK, None, INSIDE, "deny no_route", id="no route"),
        pytest.param(FALLBACK, caller(permissions="*"), INSIDE, "deny no_route",
                     id="no route for anybody"),
        pytest.param(("GET", "HEAD"), None, INSIDE, "deny method", id="method"),
        pytest.param(("GET",), caller(permissions="*"), INSIDE, "deny method",
                     id="method, whoever asks"),
    ],
)  # fmt: skip
def test_decide(
    owner: Route | tuple[str, ...], who: Caller | None, client: str, expected: str
) -> None:
    decision = decide(owner, who, client=client, fallback=FALLBACK)

    assert said(decision) == expected
    if isinstance(owner, Route):
        assert decision.route is owner
    else:
        assert isinstance(decision, Deny)
        assert decision.route is None
        assert decision.allow == owner


@pytest.mark.parametrize(
    ("access", "who", "expected"),
    [
        (Access.PUBLIC, None, "allow nobody"),
        (Access.OPTIONAL, caller(), "allow ada"),
        (Access.LOGIN, None, "challenge"),
        (Access.LOGIN, caller(), "allow ada"),
        (Access.DENY, caller(), "deny no_route"),
    ],
)
def test_defaults_decide_where_no_route_does(
    access: Access, who: Caller | None, expected: str
) -> None:
    fallback = replace(FALLBACK, access=access)

    assert said(decide(fallback, who, client=OUTSIDE, fallback=fallback)) == expected


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "who", "expected"),
    [
        pytest.param({}, caller(), None, id="nothing asked"),
        pytest.param({"users": frozenset({"ada"})}, caller("ada"), None, id="user"),
        pytest.param({"users": frozenset({"ada", "bob"})}, caller("bob"), None, id="one of two"),
        pytest.param({"users": frozenset({"ada"})}, caller("Ada"), Reason.WRONG_USER,
                     id="ids have case"),
        pytest.param({"users": frozenset({"ada"})}, caller("bob", permissions="*"),
                     Reason.WRONG_USER, id="every permission makes nobody another"),
        pytest.param(ADMINS, caller(roles="admin user"), None, id="role"),
        pytest.param(ADMINS, caller(roles="user"), Reason.MISSING_ROLE, id="another role"),
        pytest.param(ADMINS, caller(roles="administrator"), Reason.MISSING_ROLE,
                     id="a longer name"),
        pytest.param(ADMINS, caller(roles="Admin"), Reason.MISSING_ROLE, id="roles have case"),
        pytest.param(ADMINS, caller(permissions="admin *"), Reason.MISSING_ROLE,
                     id="permissions are no roles"),
        pytest.param(ADMINS, caller(roles="*"), Reason.MISSING_ROLE, id="* is no role"),
        pytest.param({"all_roles": ("a", "b")}, caller(roles="a b c"), None, id="all roles"),
        pytest.param({"all_roles": ("a", "b")}, caller(roles="a"), Reason.MISSING_ROLE,
                     id="one of all roles"),
        pytest.param({"any_role": ("a", "b")}, caller(roles="b"), None, id="any role"),
        pytest.param({"any_role": ("a", "b")}, caller(roles="c"), Reason.MISSING_ROLE,
                     id="none of any role"),
        pytest.param({"all_permissions": ("r", "w")}, caller(permissions="r w"), None,
                     id="all permissions"),
        pytest.param({"all_permissions": ("r", "w")}, caller(permissions="r"),
                     Reason.MISSING_PERMISSION, id="one of all permissions"),
        pytest.param({"all_permissions": ("r", "w")}, caller(permissions="*"), None,
                     id="* is all of them"),
        pytest.param({"any_permission": ("r", "w")}, caller(permissions="w"), None,
                     id="any permission"),
        pytest.param({"any_permission": ("r", "w")}, caller(permissions="x"),
                     Reason.MISSING_PERMISSION, id="none of any permission"),
        pytest.param({"any_permission": ("r",)}, caller(permissions="*"), None, id="* is any"),
        pytest.param({"any_permission": ("r",)}, caller(permissions="r*"),
                     Reason.MISSING_PERMISSION, id="* stands alone"),
        pytest.param({"all_permissions": ("*",)}, caller(permissions="r"),
                     Reason.MISSING_PERMISSION, id="* wanted"),
        pytest.param({"all_permissions": ("r",)}, caller(roles="r"), Reason.MISSING_PERMISSION,
                     id="roles are no permissions"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken(
    rules: dict[str, object], who: Caller, expected: Reason | None
) -> None:
    assert broken_rule(Rules(**rules), who) is expected  # type: ignore[arg-type]


def test_all_rules_must_hold() -> None:
    # Enumerated: each rule by itself holds for the caller or not.
    pairs = {
        "users": (frozenset({"ada"}), frozenset({"bob"})),
        "all_roles": (("a",), ("x",)),
        "any_role": (("a", "x"), ("x",)),
        "all_permissions": (("p",), ("x",)),
        "any_permission": (("p", "x"), ("x",)),
    }
    who = caller(roles="a", permissions="p")
    for choice in product((0, 1), repeat=len(pairs)):
        rules = {name: pair[at] for (name, pair), at in zip(pairs.items(), choice, strict=True)}
        assert (broken_rule(Rules(**rules), who) is None) is not any(choice)  # type: ignore[arg-type]


NAMES = st.sampled_from(["a", "b", "c", "*"])
LISTS = st.lists(NAMES, max_size=2).map(tuple)
RULES = st.builds(
    Rules,
    all_roles=LISTS,
    any_role=LISTS,
    all_permissions=LISTS,
    any_permission=LISTS,
    users=st.frozensets(NAMES, max_size=2),
    networks=st.sampled_from([(), OFFICE]),
)
CALLERS = st.none() | st.builds(
    Caller,
    user=st.builds(User, id=NAMES),
    roles=st.frozensets(NAMES),
    permissions=st.frozensets(NAMES),
)
CLIENTS = st.sampled_from([INSIDE, OUTSIDE, "", "2001:db8::1"])


@given(RULES, CALLERS, CLIENTS, st.sampled_from([Access.OPTIONAL, Access.LOGIN]))
def test_who_may_pass_may_pass_with_more(
    rules: Rules, who: Caller | None, client: str, access: Access
) -> None:
    owner = Route(id="r", access=access, rules=rules)
    if who is None or not isinstance(decide(owner, who, client=client, fallback=FALLBACK), Allow):
        return
    more = replace(who, roles=who.roles | {"x"}, permissions=who.permissions | {"x"})

    assert isinstance(decide(owner, more, client=client, fallback=FALLBACK), Allow)


@given(RULES, CALLERS, CLIENTS)
def test_nobody_gets_no_further_than_somebody_without_anything(
    rules: Rules, who: Caller | None, client: str
) -> None:
    owner = Route(id="r", access=Access.OPTIONAL, rules=rules)
    if rules.about_identity:
        assert not isinstance(decide(owner, None, client=client, fallback=FALLBACK), Allow)
    if isinstance(decide(owner, None, client=client, fallback=FALLBACK), Allow):
        assert isinstance(decide(owner, who, client=client, fallback=FALLBACK), Allow)


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("9.255.255.255", False),
        ("11.0.0.0", False),
        ("2001:db8::1", True),
        ("2001:DB8:0::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("localhost", False),
        ("10.0.0.1:80", False),
        ("10.0.0", False),
        ("010.0.0.1", False),
        ("[2001:db8::1]", False),
        ("unix:", False),
    ],
)
def test_which_addresses_are_in_a_network(client: str, *, expected: bool) -> None:
    assert in_networks(client, OFFICE) is expected


@given(st.text())
def test_what_is_no_address_is_in_no_network(client: str) -> None:
    assert in_networks(client, ()) is False
    assert in_networks(client, OFFICE) in (True, False)


# --- told to the author --------------------------------------------------------------------------


def test_rules_are_called_as_the_file_calls_them() -> None:
    owner = route(
        Access.LOGIN,
        users=frozenset({"bob", "ada"}),
        all_roles=("admin",),
        any_role=("a", "b"),
        all_permissions=("r", "w"),
        any_permission=("x",),
        networks=OFFICE,
    )
    who = caller("ada", roles="a", permissions="r w")

    checked = checked_rules(owner, who, client=OUTSIDE)

    assert [(rule.rule, rule.wanted, rule.holds) for rule in checked] == [
        ("access", ("login",), True),
        ("network", ("10.0.0.0/8", "2001:db8::/32"), False),
        ("user", ("ada", "bob"), True),
        ("role", ("admin",), False),
        ("any_role", ("a", "b"), True),
        ("all_permissions", ("r", "w"), True),
        ("any_permission", ("x",), False),
    ]


@given(RULES, CALLERS, CLIENTS, st.sampled_from([Access.OPTIONAL, Access.LOGIN, Access.DENY]))
def test_what_holds_is_what_is_allowed(
    rules: Rules, who: Caller | None, client: str, access: Access
) -> None:
    owner = Route(id="r", access=access, rules=rules)

    allowed = isinstance(decide(owner, who, client=client, fallback=FALLBACK), Allow)

    assert allowed is all(rule.holds for rule in checked_rules(owner, who, client=client))
