from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.config.python_code import OwnCallbacks
from gateway.errors import CallbackFailed, SignInDenied
from gateway.login.callbacks import Callbacks, Threads
from gateway.model import User

SECRET = "whispered-to-nobody-else"
ADA = User(id="ada", provider="local", name="Ada", roles=("editor",))

Make = Callable[..., Callbacks]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Load callbacks that are written so."""

    def made(text: str, *, timeout: float = 5.0, threads: Threads | None = None) -> Callbacks:
        (tmp_path / "own.py").write_text(text)
        own = OwnCallbacks("own.py", tmp_path)
        return Callbacks(own, threads or Threads(), timeout=timeout)

    return made


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What callbacks hang on until the test is over."""
    event = threading.Event()
    yield event
    event.set()


# --- what they are given ---------------------------------------------------------------------

RECORDING = """\
seen = []
{kind} sign_in(user, account): seen.append((user, account)); return True
{kind} jwt(token, user, trigger, session):
    seen.append((token["sub"], user and user["id"], trigger, session))
    return token | {{"seen": seen}}
{kind} session(session, token, user, trigger, new_session):
    seen.append((session, token["sub"], user["id"], trigger, new_session))
    return {{"seen": seen}}
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_each_is_given_what_nextauth_gives_it(make: Make, kind: str) -> None:
    callbacks = make(RECORDING.format(kind=kind))

    await callbacks.admit(ADA, "credentials")
    await callbacks.keep(ADA, {}, trigger="signIn")
    await callbacks.keep(ADA, {}, trigger="update", new={"a": 1})
    await callbacks.keep(ADA, {})
    shown = await callbacks.show({"expires": "then"}, ADA, {}, trigger="update", new=[1])

    (user, account), *calls = shown["seen"]
    assert (user["id"], user["roles"]) == ("ada", ["editor"])
    assert account == {"provider": "local", "type": "credentials", "providerAccountId": "ada"}
    assert calls == [
        ["ada", "ada", "signIn", None],
        ["ada", None, "update", {"a": 1}],
        ["ada", None, None, None],
        [{"expires": "then"}, "ada", "ada", "update", [1]],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "def jwt(token): return token | {'a': 1}",
        "def jwt(*, session, token): return token | {'a': 1}",
        "def jwt(token, **rest): return token | {'a': len(rest) - 2}",
        "def jwt(token, unused=None, *more): return token | {'a': 1}",
        "jwt = lambda token: token | {'a': 1}",
        "class Jwt:\n async def __call__(self, token): return token | {'a': 1}\njwt = Jwt()",
        "async def _jwt(token): return token | {'a': 1}\ndef jwt(token): return _jwt(token)",
    ],
)
async def test_each_takes_only_what_it_asks_for(make: Make, text: str) -> None:
    assert await make(text).keep(ADA, {}) == (ADA, {"a": 1})


async def test_what_is_missing_changes_nothing(make: Make) -> None:
    only_jwt = make("def jwt(token): return token")
    only_session = make("def session(session): return session")
    for callbacks in only_jwt, only_session, Callbacks(None, Threads()):
        await callbacks.admit(ADA, "credentials")
        assert await callbacks.keep(ADA, {"a": 1}) == (ADA, {"a": 1})
        assert await callbacks.show({"user": {}}, ADA, {}) == {"user": {}}
    assert (only_jwt.keeps, only_session.keeps) == (True, False)


async def test_a_sync_one_does_not_stop_the_loop(make: Make, stuck: threading.Event) -> None:
    callbacks = make("stuck = None\ndef jwt(token):\n assert stuck.wait(5)\n return token")
    callbacks._own.jwt._function.__globals__["stuck"] = stuck  # type: ignore[union-attr]
    waiting = asyncio.create_task(callbacks.keep(ADA, {}))
    await asyncio.sleep(0)
    stuck.set()

    assert await waiting == (ADA, {})


def test_a_module_is_run_anew_and_by_itself_each_time(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def jwt(token): return 1")
    first = OwnCallbacks("own.py", tmp_path)
    own.write_text("def jwt(token): return 2")
    second = OwnCallbacks("own.py", tmp_path)
    sent: OwnCallbacks = pickle.loads(pickle.dumps(first))

    results = [one.jwt(token={}, user=None, trigger=None, session=None)  # type: ignore[misc]
               for one in (first, second, sent)]  # fmt: skip
    assert results == [1, 2, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.py"]  # nothing compiled


def test_a_package_s_module_is_run_anew_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "a_package_of_ours"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "roles.py").write_text("ADMIN = 'admin'\n")
    text = "from .roles import ADMIN\ndef jwt(token): return ADMIN + '{}'\n"
    monkeypatch.syspath_prepend(tmp_path)
    results = []
    for version in "1", "2":
        (package / "callbacks.py").write_text(text.format(version))
        own = OwnCallbacks("a_package_of_ours.callbacks", Path())
        results.append(own.jwt(token={}, user=None, trigger=None, session=None))  # type: ignore[misc]

    assert results == ["admin1", "admin2"]


def test_data_classes_with_later_annotations_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    b: int\ndef jwt(token): return A(1).b\n"
    )
    own = OwnCallbacks("own.py", tmp_path)

    assert own.jwt(token={}, user=None, trigger=None, session=None) == 1  # type: ignore[misc]


# --- what they say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "location"), [("False", None), ("None", None), ("'/pending'", "/pending")]
)
async def test_sign_in_may_say_no(make: Make, answer: str, location: str | None) -> None:
    with pytest.raises(SignInDenied) as caught:
        await make(f"def sign_in(user): return {answer}").admit(ADA, "credentials")

    assert caught.value.location == location


async def test_jwt_says_what_is_kept(make: Make) -> None:
    callbacks = make(
        "def jwt(token, session):\n"
        " return token | {'roles': ['admin'], 'name': None, 'theme': session['theme']}"
    )
    user, data = await callbacks.keep(ADA, {"a": 1}, trigger="update", new={"theme": "dark"})

    assert user == User(id="ada", provider="local", roles=("admin",))
    assert data == {"a": 1, "theme": "dark"}


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(f"raise KeyError('{SECRET}')", "raised KeyError", id="an exception"),
        pytest.param("raise SystemExit(1)", "raised SystemExit", id="an exit"),
        pytest.param("raise TimeoutError", "raised TimeoutError", id="a timeout of its own"),
        pytest.param(
            "return None",
            "returned what cannot be used: expected the token, not NoneType",
            id="nothing",
        ),
        pytest.param(
            f"return token | {{'a': {{'{SECRET}'}}}}",
            "returned what cannot be used: a value of type set",
            id="what JSON cannot express",
        ),
        pytest.param(
            f"return token | {{'sub': '{SECRET}'}}",
            "returned what cannot be used: a token cannot become another user's",
            id="another user",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_what_goes_wrong_refuses_and_the_log_says_where(
    make: Make, kind: str, body: str, why: str
) -> None:
    callbacks = make(f"{kind} jwt(token):\n {body}")
    with capture_logs() as lines, pytest.raises(CallbackFailed) as caught:
        await callbacks.keep(ADA, {})

    [line] = lines
    assert (line["event"], line["callback"], line["why"]) == ("callback_failed", "jwt", why)
    if body.startswith("raise"):
        assert line["where"][-1].endswith("own.py:2")
    assert SECRET not in repr(lines) + str(caught.value)


async def test_an_interrupt_in_a_thread_ends_only_the_callback(make: Make) -> None:
    with pytest.raises(CallbackFailed):
        await make("def jwt(token): raise KeyboardInterrupt").keep(ADA, {})


async def test_one_that_takes_too_long_refuses(make: Make, stuck: threading.Event) -> None:
    slow = make("import asyncio\nasync def jwt(token): await asyncio.Event().wait()", timeout=0.05)
    hung = make("stuck = None\ndef jwt(token): stuck.wait()", timeout=0.05)
    hung._own.jwt._function.__globals__["stuck"] = stuck  # type: ignore[union-attr]
    for callbacks in slow, hung:
        with capture_logs() as lines, pytest.raises(CallbackFailed):
            await callbacks.keep(ADA, {})
        assert [line["why"] for line in lines] == ["took longer than 0.05 s"]


async def test_those_that_hang_leave_no_place_until_they_return(
    make: Make, stuck: threading.Event
) -> None:
    threads = Threads(2)
    hung = make("stuck = None\ndef jwt(token): stuck.wait()", timeout=0.05, threads=threads)
    hung._own.jwt._function.__globals__["stuck"] = stuck  # type: ignore[union-attr]
    before = threading.active_count()
    results = await asyncio.gather(*(hung.keep(ADA, {}) for _ in range(10)), return_exceptions=True)
    assert {type(result) for result in results} == {CallbackFailed}
    assert threading.active_count() <= before + 2

    stuck.set()
    well: Any = make("def jwt(token): return token", threads=threads)
    assert await well.keep(ADA, {}) == (ADA, {})


async def test_a_thread_that_the_system_refuses_keeps_no_place(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    callbacks = make("def sign_in(user, account): return True", threads=Threads(1), timeout=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(CallbackFailed):
            await callbacks.admit(ADA, "credentials")
    await callbacks.admit(ADA, "credentials")
