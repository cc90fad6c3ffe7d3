"""Templates of the gateway's own pages, and an operator's in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.suggestions import did_you_mean

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

OURS = Path(__file__).parent.parent / "server" / "templates"

_EVERY_PAGE = frozenset({"style", "request_id"})

VARIABLES = {
    "error.html": frozenset({"title", "sentence", "sign_in", "shown"}) | _EVERY_PAGE,
    "sign_in.html": frozenset(
        {
            *("providers", "csrf_token", "callback_url", "error", "tried", "username"),
            *("ask_to_remember", "remember", "signed_in_as"),
        }
    )
    | _EVERY_PAGE,
    "sign_out.html": frozenset({"action", "csrf_token", "callback_url", "error", "signed_in_as"})
    | _EVERY_PAGE,
    "signed_out.html": frozenset({"sign_in"}) | _EVERY_PAGE,
}
"""What each page may show."""

# What jinja itself puts into a template.
_SPECIAL = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})


class Fault(NamedTuple):
    """What is wrong with a template, and where."""

    file: Path
    line: int
    message: str


def environment(folder: Path | None) -> Environment:
    """Return what renders the pages: each from the operator's folder where it is there, or ours.

    An operator's templates are sandboxed: they show what they are given, and reach nothing else.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    kind = Environment if folder is None else ImmutableSandboxedEnvironment
    return kind(
        loader=FileSystemLoader([OURS] if folder is None else [folder, OURS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
    )


def templates_of(folder: Path) -> list[Path]:
    """Return the operator's templates.

    Raises:
        OSError: The folder cannot be read.
    """
    return sorted(file for file in folder.iterdir() if file.suffix == ".html")


def faults(folder: Path) -> Iterator[Fault]:
    """Yield what is wrong with an operator's templates, without rendering any.

    Raises:
        OSError: The folder cannot be read.
    """
    from jinja2 import TemplateSyntaxError

    made_by = environment(folder)
    for file in (*templates_of(folder), *folder.glob("style.css")):
        try:
            source = file.read_text(encoding="utf-8")
            if file.suffix == ".css":
                continue
            made_by.compile(source, file.name)  # unknown filters are found here only
            tree = made_by.parse(source, file.name)
        except TemplateSyntaxError as error:
            yield Fault(file, error.lineno, error.message or "this is no template")
        except UnicodeDecodeError:
            yield Fault(file, 1, "the file is not UTF-8 text")
        except OSError as error:
            yield Fault(file, 1, f"cannot be read: {error.strerror}")
        else:
            yield from _unknown_variables(file, tree, made_by)
            yield from _missing_templates(file, tree, folder)


def _unknown_variables(file: Path, tree: nodes.Template, made_by: Environment) -> Iterator[Fault]:
    from jinja2 import meta, nodes

    known = VARIABLES.get(file.name) or frozenset[str]().union(*VARIABLES.values())
    unknown = meta.find_undeclared_variables(tree) - known - _SPECIAL - set(made_by.globals)
    for name in sorted(unknown):
        line = min(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
        meant = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
        yield Fault(file, line, f"this page has no {name!r}{meant}")


def _missing_templates(file: Path, tree: nodes.Template, folder: Path) -> Iterator[Fault]:
    from jinja2 import meta

    for name in meta.find_referenced_templates(tree):
        if name is not None and not ((folder / name).is_file() or (OURS / name).is_file()):
            yield Fault(file, 1, f"there is no template {name!r}")
