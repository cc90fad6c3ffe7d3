from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import RoleGrant, User
from gateway.rules.identity import effective_roles
from gateway.rules.roles import (
    RoleFault,
    RoleTable,
    compile_roles,
    holds,
    holds_any,
    is_plain_name,
)


def grants(text: str) -> dict[str, RoleGrant]:
    """Read ``viewer: read; editor(viewer): write``."""
    table = {}
    for line in filter(None, text.split(";")):
        name, _, permissions = line.partition(":")
        role, _, inherits = name.strip().removesuffix(")").partition("(")
        table[role] = RoleGrant(
            inherits=tuple(inherits.split()), permissions=tuple(permissions.split())
        )
    return table


STAFF = "viewer: read; editor(viewer): write; admin(editor): *; auditor(viewer): log; empty:"


@pytest.mark.parametrize(
    ("user", "roles", "permissions"),
    [
        pytest.param(User(id="u"), "", "", id="nothing"),
        pytest.param(User(id="u", roles=("viewer",)), "viewer", "read", id="a role"),
        pytest.param(User(id="u", roles=("editor",)), "editor viewer", "read write", id="inherits"),
        pytest.param(User(id="u", roles=("admin",)), "admin editor viewer", "* read write",
                     id="inherits what is inherited"),
        pytest.param(User(id="u", roles=("editor", "auditor")), "editor auditor viewer",
                     "read write log", id="two roles with one parent"),
        pytest.param(User(id="u", roles=("empty",)), "empty", "", id="a role that brings nothing"),
        pytest.param(User(id="u", roles=("other",)), "other", "", id="unknown to the table"),
        pytest.param(User(id="u", roles=("Viewer",)), "Viewer", "", id="names have case"),
        pytest.param(User(id="u", permissions=("x",)), "", "x", id="permission of their own"),
        pytest.param(User(id="u", roles=("viewer",), permissions=("x",)), "viewer", "read x",
                     id="both"),
        pytest.param(User(id="u", roles=("viewer,admin",)), "", "", id="comma in a role"),
        pytest.param(User(id="u", roles=("admin|",)), "", "", id="bar in a role"),
        pytest.param(User(id="u", roles=(" admin",)), "", "", id="space in front of a role"),
        pytest.param(User(id="u", roles=("admin\n",)), "", "", id="line end in a role"),
        pytest.param(User(id="u", roles=("",)), "", "", id="empty role"),
        pytest.param(User(id="u", permissions=("*,", "a,b", "", "ok")), "", "ok",
                     id="permissions likewise"),
    ],
)  # fmt: skip
def test_what_a_user_is_and_may(user: User, roles: str, permissions: str) -> None:
    caller = compile_roles(grants(STAFF)).caller(user)

    assert caller.user is user
    assert caller.roles == frozenset(roles.split())
    assert caller.permissions == frozenset(permissions.split())


def test_without_a_table_a_role_is_its_name() -> None:
    caller = compile_roles({}).caller(User(id="u", roles=("a", "b"), permissions=("p",)))

    assert caller.roles == {"a", "b"}
    assert caller.permissions == {"p"}


def test_given_roles_come_first_and_inherited_ones_by_name() -> None:
    table = compile_roles(grants("z(b a): ; a: ; b: ; y:"))

    assert effective_roles(table.caller(User(id="u", roles=("z", "y", "z")))) == list("zyab")


def test_several_parents() -> None:
    table = compile_roles(grants("c(a b): ; a: p; b: q"))

    assert table.roles["c"] == {"a", "b", "c"}
    assert table.permissions["c"] == {"p", "q"}


@pytest.mark.parametrize(
    ("text", "role", "inherits", "says"),
    [
        ("a(b):", "a", "b", "no role is named 'b'"),
        ("a: ; b(a c):", "b", "c", "no role is named 'c'"),
        ("a(a):", "a", "a", "a role cannot inherit itself: a -> a"),
        ("a(b): ; b(a):", "b", "a", "a role cannot inherit itself: a -> b -> a"),
        ("a(b): ; b(c): ; c(a):", "c", "a", "a role cannot inherit itself: a -> b -> c -> a"),
        ("x: ; a(x b): ; b(x b):", "b", "b", "a role cannot inherit itself: a -> b -> b"),
    ],
)
def test_a_table_that_cannot_stand(text: str, role: str, inherits: str, says: str) -> None:
    with pytest.raises(RoleFault) as caught:
        compile_roles(grants(text))

    assert (caught.value.role, caught.value.inherits) == (role, inherits)
    assert str(caught.value) == says


def test_a_diamond_is_no_circle() -> None:
    table = compile_roles(grants("d(b c): ; b(a): ; c(a): ; a: p"))

    assert table.permissions["d"] == {"p"}


def test_a_long_line_of_inheritance_is_followed() -> None:
    line = "".join(f"r{n}(r{n + 1}):;" for n in range(100))

    table = compile_roles(grants(line + "r100: p"))

    assert table.permissions["r0"] == {"p"}
    assert len(table.roles["r0"]) == 101


@given(
    st.dictionaries(
        st.integers(0, 9),
        st.builds(
            lambda below, permissions: (below, permissions),
            st.lists(st.integers(0, 9), max_size=3),
            st.frozensets(st.sampled_from("pqr")),
        ),
        max_size=8,
    ),
    st.data(),
)
def test_a_role_brings_what_each_inherited_one_brings(
    drawn: dict[int, tuple[list[int], frozenset[str]]], data: st.DataObject
) -> None:
    # Only smaller numbers are inherited, so there are no circles.
    table: RoleTable = compile_roles(
        {
            str(n): RoleGrant(
                inherits=tuple(str(m) for m in below if m < n and m in drawn),
                permissions=tuple(permissions),
            )
            for n, (below, permissions) in drawn.items()
        }
    )
    for n, (below, permissions) in drawn.items():
        assert permissions <= table.permissions[str(n)]
        for m in below:
            if m < n and m in drawn:
                assert table.roles[str(m)] < table.roles[str(n)]
                assert table.permissions[str(m)] <= table.permissions[str(n)]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("admin", True),
        ("reports:read", True),
        ("*", True),
        ("Sales Europe", True),
        ("größe", True),
        ("100%", True),
        ("a;b", True),
        ("", False),
        (" ", False),
        (" a", False),
        ("a ", False),
        ("a\t", False),
        ("\u00a0a", False),
        ("a,b", False),
        (",", False),
        ("a|b", False),
        ("a\nb", False),
        ("a\x00", False),
        ("a\x7fb", False),
        ("a\x85b", False),
    ],
)
def test_which_names_fit_a_header(name: str, *, plain: bool) -> None:
    assert is_plain_name(name) is plain


@given(st.lists(st.text(min_size=1)))
def test_plain_names_come_apart_again(names: list[str]) -> None:
    plain = [name for name in names if is_plain_name(name)]

    assert ",".join(plain).split(",") == (plain or [""])


# --- permissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "wanted", "every", "one"),
    [
        ("a b", "a", True, True),
        ("a b", "a b", True, True),
        ("a", "a b", False, True),
        ("a", "b", False, False),
        ("", "a", False, False),
        ("*", "a b", True, True),
        ("* x", "a", True, True),
        ("a*", "a", False, False),
        ("a", "*", False, False),
        ("a:*", "a:b", False, False),
    ],
)
def test_holding_permissions(held: str, wanted: str, *, every: bool, one: bool) -> None:
    assert holds(frozenset(held.split()), wanted.split()) is every
    assert holds_any(frozenset(held.split()), wanted.split()) is one
