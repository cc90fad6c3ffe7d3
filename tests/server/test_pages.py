from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from gateway.errors import Reason
from gateway.server import pages
from gateway.server.answers import Answer

PROVIDER = pages.Provider(id="local", name="Staff", action="/_gateway/auth/signin/local")
HOSTILE = "\"'><script>alert(1)</script>{{ 7 * 7 }}"


def sign_in(text: str = "x", **more: object) -> Answer:
    values: dict[str, object] = {
        "providers": [pages.Provider(id=text, name=text, action=text)],
        "csrf_token": text,
        "callback_url": text,
        "error": text,
        "tried": text,
        "username": text,
        "signed_in_as": text,
    }
    return pages.sign_in(request_id="r-1", **(values | more))  # type: ignore[arg-type]


PAGES: dict[str, Callable[[str], Answer]] = {
    "sign in": sign_in,
    "sign out": lambda text: pages.sign_out(
        request_id="r-1",
        action=text,
        csrf_token=text,
        callback_url=text,
        error=text,
        signed_in_as=text,
    ),
    "signed out": lambda text: pages.signed_out(request_id="r-1", sign_in=text),
    "error": lambda text: pages.error(
        status=403,
        reason=Reason.DENIED,
        request_id="r-1",
        title=text,
        sentence=text,
        sign_in=text,
    ),
}
every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


class Elements(HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


@every_page
def test_nothing_is_cached_framed_sniffed_or_told_to_others(page: Callable[[str], Answer]) -> None:
    headers = dict(page("x").headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Request-Id"] == "r-1"


@every_page
def test_the_policy_allows_the_one_style_and_nothing_else(page: Callable[[str], Answer]) -> None:
    answer = page("x")
    styles = re.findall(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    assert len(styles) == 1
    digest = b64encode(sha256(styles[0].encode()).digest()).decode()
    assert dict(answer.headers)["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]


@every_page
def test_pages_need_nothing_but_themselves(page: Callable[[str], Answer]) -> None:
    elements = Elements(page("x"))
    for tag in ("script", "link", "img", "iframe", "object"):
        assert elements.all(tag) == []
    assert all("style" not in attributes for _, attributes in elements.found)
    assert not any(name.startswith("on") for _, found in elements.found for name in found)


@every_page
def test_what_comes_from_outside_stays_text(page: Callable[[str], Answer]) -> None:
    hostile, harmless = Elements(page(HOSTILE)), Elements(page("x"))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in harmless.found]
    assert [set(names) for _, names in hostile.found] == [set(names) for _, names in harmless.found]
    assert HOSTILE in hostile.text or any(HOSTILE in names.values() for _, names in hostile.found)


@every_page
def test_pages_say_their_language_title_and_width(page: Callable[[str], Answer]) -> None:
    elements = Elements(page("x"))
    assert elements.all("html") == [{"lang": "en"}]
    assert len(elements.all("title")) == len(elements.all("h1")) == len(elements.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in elements.all(
        "meta"
    )


def test_every_field_of_the_sign_in_page_has_a_label() -> None:
    elements = Elements(sign_in(providers=[PROVIDER, PROVIDER], tried="other"))
    typed = [field for field in elements.all("input") if field["type"] != "hidden"]
    assert len(typed) == 4
    assert [field["id"] for field in typed] == [label["for"] for label in elements.all("label")]
    assert len({field["id"] for field in typed}) == 4
    assert [field["autocomplete"] for field in typed[:2]] == ["username", "current-password"]


def test_the_form_carries_token_and_return_address() -> None:
    page = sign_in(providers=[PROVIDER], csrf_token="t0", callback_url="/app?a=1&b=2")
    elements = Elements(page)
    assert elements.all("form") == [{"method": "post", "action": "/_gateway/auth/signin/local"}]
    values = {field["name"]: field["value"] for field in elements.all("input") if "value" in field}
    assert values == {"csrfToken": "t0", "callbackUrl": "/app?a=1&b=2", "username": ""}
    assert "Staff" in elements.text


def test_after_a_failure_the_name_is_kept_and_the_error_announced() -> None:
    page = sign_in(providers=[PROVIDER], error="Wrong.", tried="local", username="ada")
    elements = Elements(page)
    name, password = (field for field in elements.all("input") if field["type"] != "hidden")
    assert name["value"] == "ada"
    assert "value" not in password
    assert "autofocus" in password
    assert "autofocus" not in name
    assert name["aria-describedby"] == password["aria-describedby"] == "error"
    alerts = [found for _, found in elements.found if found.get("role") == "alert"]
    assert [alert["id"] for alert in alerts] == ["error"]


def test_without_an_error_nothing_is_announced() -> None:
    elements = Elements(sign_in(providers=[PROVIDER], error="", signed_in_as=""))
    assert not any(found.get("role") == "alert" for _, found in elements.found)
    assert "signed in as" not in elements.text


def test_without_a_provider_the_page_says_so() -> None:
    elements = Elements(sign_in(providers=[]))
    assert elements.all("form") == []
    assert "no way to do so is configured" in elements.text


def test_an_error_page_gives_status_sentence_and_request_id() -> None:
    page = pages.error(
        status=403, reason=Reason.DENIED, request_id="r-77", title="No access", sentence="Ask Ada."
    )
    text = Elements(page).text
    assert (page.status, page.reason) == (403, Reason.DENIED)
    for part in ("403", "No access", "Ask Ada.", "r-77"):
        assert part in text
