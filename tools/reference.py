"""``make docs``: renew the parts of the documentation that the code itself knows.

A page says ``<!-- reference: NAME -->`` and ``<!-- end -->``; what stands between is made anew from
the docstrings below the fields of the class of that name. Everything around is written by hand.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    ROOT / "docs" / f"{name}.md" for name in ("configuration", "operations", "upstream-headers")
)

NOTHING = "–"
"""Where leaving a key out needs no words: a rule is not asked, a mapping has its defaults."""

_SETTINGS = (
    "settings",
    "accept_settings",
    "server_settings",
    "upstream_settings",
    "route_settings",
    "shaping_settings",
    "users_file",
)
_BLOCK = re.compile(r"(<!-- reference: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_WRITTEN_OTHERWISE = frozenset({("WhenDeniedSettings", "style")})
"""Fields that stand for a shorter form, and are no keys that anybody can write."""

_NEVER = frozenset({"corrupt_record", "draining"})
"""Reasons that no request ends with yet."""

_KINDS = {
    "AcceptSettings": "[source](#sessionaccept)",
    "AcceptedCookie": "name",
    "ColumnsSettings": "[mapping](#columns)",
    "DbSchema": "`prisma`, `drizzle` or `pg`",
    "IdPrefix": "text",
    "Identifier": "name",
    "KeyPrefix": "text",
    "Passwords": "text, or mapping: number to text",
    "PayloadPath": "path of keys",
    "TablesSettings": "[mapping](#tables)",
    "Touch": "`app` or `gateway`",
    "Version": "`8` or `9`",
    "CookieName": "name",
    "Count": "number",
    "CookiePath": "path",
    "Duration": "duration",
    "FileMode": "permissions",
    "Flag": "true or false",
    "HeaderName": "header",
    "IdentityField": "[field](upstream-headers.md#headers-of-your-own)",
    "KeptHeader": "header",
    "Label": "name",
    "Listen": "address",
    "Method": "method",
    "NetworkText": "network",
    "One": "`1`",
    "OnStoreOutage": "`reject`, or `serve_stale` and a duration",
    "Origin": "origin",
    "PageAddress": "path or URL",
    "PermissionName": "permission",
    "PlainPath": "path",
    "Proxy": "network or `unix`",
    "RoleName": "role",
    "Size": "size",
    "Text": "text",
    "UpstreamUrl": "URL",
    "UserId": "user id",
    "str": "text",
    "Access": "`public`, `optional`, `login` or `deny`",
    "Case": "`sensitive` or `insensitive`",
    "PathMark": "mark",
    "WhenDeniedSettings": "[how](#when_denied)",
    "DenialStyle": "`auto`, `json` or `redirect`",
    "Workers": "number or `auto`",
    "ListenerSettings": "address or [mapping](#serverlisten)",
    "TlsSettings": "[mapping](#servertls)",
    "LimitsSettings": "[mapping](#serverlimits)",
    "AdminSettings": "address or [mapping](#serveradmin)",
    "CookieSettings": "[mapping](#sessioncookie)",
    "ProviderSettings": "[provider](#loginproviders)",
    "TimeoutSettings": "[mapping](#timeouts)",
    "TargetSettings": "URL or [mapping](#targets)",
    "HealthSettings": "[mapping](#health)",
    "UpstreamTlsSettings": "[mapping](#tls)",
    "Balance": "`round_robin`, `least_requests` or `sticky`",
    "Whole": "number",
    "Weight": "number",
    "RequestTarget": "path",
    "HostName": "name",
    "SetHeadersSettings": "[mapping](#set_headers)",
    "RemoveHeadersSettings": "[mapping](#remove_headers)",
    "SecurityHeadersSettings": "`true` or [mapping](#security_headers)",
    "CorsSettings": "[mapping](#cors)",
    "RateLimitSettings": "[mapping](#rate_limit)",
    "CrossOrigin": "origin",
    "ReadableHeader": "header",
    "SetHeader": "header",
    "HeaderValue": "text",
    "Period": "duration",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class, as its source has it."""

    name: str
    kind: ast.expr
    value: ast.expr | None
    doc: str


def renewed(page: str) -> str:
    """Return a page with every part of it that is made from the code made anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_part(block[2])}\n\n{block[3]}", page)


def parts(page: str) -> list[str]:
    """Return the names of the parts that a page has."""
    return [name for _, name, _ in _BLOCK.findall(page)]


def settings() -> dict[str, tuple[Field, ...]]:
    """Return every class of settings by name, with its fields."""
    return {
        name: tuple(field for field in fields if (name, field.name) not in _WRITTEN_OTHERWISE)
        for module in _SETTINGS
        for name, fields in _classes(ROOT / "gateway" / "config" / f"{module}.py").items()
        if name.endswith("Settings")
    }


def described(field: Field) -> tuple[str, str]:
    """Return what leaving a field out means, and what else its docstring says."""
    default, meaning = "", []
    for sentence in re.split(r"(?<=\.)\s+(?=[A-Z`])", field.doc):
        found = re.fullmatch(
            r"(?:Default:?|Unset(?: or null)?:)(?: ([^;]+))?(?:; (.*))?\.", sentence
        )
        if found is None:
            meaning.append(sentence)
            continue
        default = found[1] or _literal(field.value)
        if found[2]:
            meaning.append(f"{found[2]}.")
    if field.value is None:
        default = "required"
    return default or NOTHING, " ".join(meaning)


def main() -> int:
    """Write the pages."""
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _part(name: str) -> str:
    special: dict[str, Callable[[], str]] = {
        "Dropped": _dropped,
        "Reason": _reasons,
        "RequestRecord": _log_fields,
        "Metrics": _metrics,
    }
    return special[name]() if name in special else _settings_table(settings()[name])


def _settings_table(fields: tuple[Field, ...]) -> str:
    rows = []
    for field in fields:
        default, meaning = described(field)
        rows.append((f"`{field.name}`", _kind(field.kind), default, meaning))
    return _table(("Key", "Value", "Left out", "Meaning"), rows)


def _reasons() -> str:
    fields = _classes(ROOT / "gateway" / "errors.py")["Reason"]
    rows = [(_literal(field.value), field.doc) for field in fields]
    rows = [row for row in rows if row[0].strip("`") not in _NEVER]
    return _table(("Reason", "What happened"), rows)


def _log_fields() -> str:
    fields = _classes(ROOT / "gateway" / "telemetry" / "records.py")["RequestRecord"]
    return _table(("Field", "Meaning"), [(f"`{field.name}`", field.doc) for field in fields])


def _dropped() -> str:
    from gateway.rules.headers import _STEERING

    names = sorted(name.replace("_", "-").title() for name in _STEERING - {"FORWARDED"})
    return ", ".join(f"`{name}`" for name in names) + "."


def _metrics() -> str:
    from gateway.telemetry.metrics import Metrics

    rows = []
    for family in Metrics().collect():
        labels = ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        rows.append((f"`{family.name}{suffix}`", family.type, labels, family.documentation))
    return _table(("Metric", "Type", "Labels", "Meaning"), rows)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )


# --- from source ---------------------------------------------------------------------------------


@cache
def _classes(file: Path) -> dict[str, tuple[Field, ...]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name: tuple(_fields(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)
    }


def _fields(body: list[ast.stmt]) -> Iterator[Field]:
    for at, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, kind, value = _written(node), node.annotation, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, kind, value = node.targets[0].id, ast.expr(), node.value
        else:
            continue
        yield Field(name, kind, value, _doc(body[at + 1 : at + 2]))


def _written(node: ast.AnnAssign) -> str:
    """Return what a field is called in a file: as in the class, or as its alias says."""
    for inner in ast.walk(node.annotation):
        if isinstance(inner, ast.keyword) and inner.arg == "alias":
            return str(ast.literal_eval(inner.value))
    assert isinstance(node.target, ast.Name)  # noqa: S101  it was matched before
    return node.target.id


def _doc(following: list[ast.stmt]) -> str:
    match following:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return " ".join(text.split()).replace("``", "`")
        case _:
            return ""


def _literal(value: ast.expr | None) -> str:
    match value:
        case ast.Constant(value=str() | int() as text):
            return f"`{text}`"
        case _:
            return ""


def _kind(kind: ast.expr) -> str:
    """Say in words what a field takes."""
    match kind:
        case ast.Name(id=name):
            return _KINDS[name]
        case ast.BinOp(left=left, op=ast.BitOr()):
            return _kind(left)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *marks])):
            one_or_many = any(
                isinstance(mark, ast.Name) and mark.id == "OneOrMany" for mark in marks
            )
            said = _kind(inner)
            return f"{said.removeprefix('list: ')}, or a list" if one_or_many else said
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[inner, *_])):
            return f"list: {_kind(inner)}"
        case ast.Subscript(value=ast.Name(id="Mapping"), slice=ast.Tuple(elts=[key, inner])):
            return f"mapping: {_kind(key)} to {_kind(inner)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=several)):
            *first, last = map(_literal, several)
            return f"{', '.join(first)} or {last}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=one):
            return _literal(one)
        case _:
            raise ValueError(f"no words for {ast.unparse(kind)}")


if __name__ == "__main__":
    sys.exit(main())
