"""An operator's templates in the place of the gateway's own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from jinja2 import meta
from structlog.testing import capture_logs

from gateway.config.page_templates import OURS, VARIABLES, environment, faults
from gateway.errors import Reason
from gateway.server import pages
from gateway.server.answers import Answer


@pytest.fixture(autouse=True)
def _ours_again() -> Iterator[None]:
    yield
    pages.prepare()


def error(sentence: str = "Ask Ada.") -> Answer:
    return pages.error(
        status=403, reason=Reason.DENIED, request_id="r-1", title="No access", sentence=sentence
    )


def policy(answer: Answer) -> str:
    return dict(answer.headers)["Content-Security-Policy"]


def use(folder: Path, **files: str) -> None:
    """Put templates in a folder, by name without ending, as an operator whose check passed."""
    for name, text in files.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    assert list(faults(folder)) == []
    pages.prepare(folder)


def test_a_template_replaces_the_page_of_its_name_and_no_other(tmp_path: Path) -> None:
    use(tmp_path, error="<h1>{{ shown }} {{ title }}</h1><p>{{ sentence }}</p>{{ request_id }}")
    assert error().body == b"<h1>403 No access</h1><p>Ask Ada.</p>r-1"
    out = pages.signed_out(request_id="r-1", sign_in="/in")
    assert b"<html" in out.body
    pages.prepare()
    assert b"<html" in error().body


def test_a_template_may_extend_ours_and_include_its_own(tmp_path: Path) -> None:
    use(
        tmp_path,
        error='{% extends "base.html" %}{% block main %}{% include "logo.html" %}{% endblock %}',
        logo="<b>ACME {{ title }}</b>",
    )
    assert b"<b>ACME No access</b>" in error().body
    assert b"<style>" in error().body


def test_a_layout_replaces_ours_under_every_page(tmp_path: Path) -> None:
    use(tmp_path, base="ACME {% block main %}{% endblock %}")
    assert error().body.startswith(b"ACME ")
    assert pages.signed_out(request_id="", sign_in="/in").body.startswith(b"ACME ")


def test_what_comes_from_outside_stays_text(tmp_path: Path) -> None:
    use(tmp_path, error="<p title='{{ sentence }}'>{{ sentence }}</p>")
    assert b"<script>" not in error("<script>'\"</script>").body


def test_a_page_of_its_own_may_have_style_images_and_fonts_but_no_script(tmp_path: Path) -> None:
    use(tmp_path, error="x")
    told = dict(part.split(" ", 1) for part in policy(error()).split("; "))
    assert told == {
        "default-src": "'none'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }


def test_a_style_alone_keeps_the_policy_strict(tmp_path: Path) -> None:
    style = "body { color: #123456 }"
    (tmp_path / "style.css").write_text(style)
    use(tmp_path)
    assert f"<style>{style}</style>".encode() in error().body
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'; form-action" in policy(error())


@pytest.mark.parametrize(
    "template",
    [
        "{{ title.__class__.__mro__ }}",
        "{{ title.__class__ }}",
        "{{ (title|attr('__class__')).__mro__ }}",
        "{{ title[1:].x.y }}",
        "{% include request_id %}",
        "{% for n in range(10000000) %}{% endfor %}",
        "{{ 1 // 0 }}",
        '{% include "error.html" %}',
    ],
)
def test_a_template_that_fails_or_breaks_out_gives_way_to_ours(
    tmp_path: Path, template: str
) -> None:
    use(tmp_path, error=template)
    with capture_logs() as logs:
        answer = error()
    assert answer.status == 403
    assert b"Ask Ada." in answer.body
    assert b"<class" not in answer.body
    assert "sha256-" in policy(answer)
    assert [(line["event"], line["template"]) for line in logs] == [
        ("template failed", "error.html")
    ]


@pytest.mark.parametrize("name", VARIABLES)
def test_what_pages_may_show_is_what_ours_show(name: str) -> None:
    made_by = environment(None)
    known = set[str]()
    for file in (name, "base.html"):
        tree = made_by.parse((OURS / file).read_text())
        known |= meta.find_undeclared_variables(tree) - set(made_by.globals)
    # Some of ours leave out the request's id.
    assert known | {"request_id"} == VARIABLES[name]


def test_our_own_templates_have_no_faults() -> None:
    assert list(faults(OURS)) == []
    assert {file.name for file in OURS.glob("*.html")} == {*VARIABLES, "base.html"}
