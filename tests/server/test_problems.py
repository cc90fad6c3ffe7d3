from __future__ import annotations

import json

import pytest

from gateway.errors import Reason
from gateway.server.problems import error_answer, problem

STATUSES = [400, 401, 403, 404, 405, 408, 413, 414, 429, 431, 500, 502, 503, 504]


@pytest.mark.parametrize("status", STATUSES)
def test_programs_get_a_problem_document(status: int) -> None:
    answer = error_answer(
        status,
        Reason.BAD_REQUEST,
        navigation=False,
        request_id="r-1",
        headers=[("Retry-After", "3")],
    )
    headers = dict(answer.headers)
    document = json.loads(answer.body)
    assert answer.status == document["status"] == status
    assert answer.reason is Reason.BAD_REQUEST
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-Id"] == document["request_id"] == "r-1"
    assert headers["Retry-After"] == "3"
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"].endswith(".")
    assert set(document) == {"type", "title", "status", "detail", "request_id"}


@pytest.mark.parametrize("status", STATUSES)
def test_people_get_a_page_that_says_the_same(status: int) -> None:
    page = error_answer(status, Reason.BAD_REQUEST, navigation=True, request_id="r-1")
    document = json.loads(
        error_answer(status, Reason.BAD_REQUEST, navigation=False, request_id="r-1").body
    )
    headers = dict(page.headers)
    text = page.body.decode().replace("&#39;", "'")
    assert page.status == status
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-Id"] == "r-1"
    for part in (str(status), document["title"], document["detail"], "r-1"):
        assert part in text


def test_every_status_has_words_of_its_own() -> None:
    details = [
        json.loads(error_answer(status, Reason.PAGE, navigation=False, request_id="").body)[
            "detail"
        ]
        for status in STATUSES
    ]
    assert len(set(details)) == len(STATUSES)


@pytest.mark.parametrize("status", [402, 415, 418, 501, 599])
def test_a_status_without_words_still_answers(status: int) -> None:
    answer = error_answer(status, Reason.PAGE, navigation=False, request_id="r-1")
    assert json.loads(answer.body)["status"] == status


def test_the_way_to_sign_in_is_offered() -> None:
    url = "/_gateway/auth/signin?callbackUrl=%2Fapp"
    page = error_answer(401, Reason.NOT_SIGNED_IN, navigation=True, request_id="r", login_url=url)
    assert f'href="{url}"' in page.body.decode()
    answer = error_answer(
        401, Reason.NOT_SIGNED_IN, navigation=False, request_id="r", login_url=url
    )
    assert json.loads(answer.body)["login_url"] == url


def test_which_rule_refused_is_nobodys_business() -> None:
    hidden = [Reason.MISSING_ROLE, Reason.WRONG_NETWORK, Reason.WRONG_USER, Reason.DENIED]
    bodies = {error_answer(403, why, navigation=False, request_id="r").body for why in hidden}
    assert len(bodies) == 1


def test_further_members_are_kept() -> None:
    answer = problem(409, "Taken", "Somebody was faster.", "r-1", by="ada")
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Taken",
        "status": 409,
        "detail": "Somebody was faster.",
        "by": "ada",
        "request_id": "r-1",
    }
