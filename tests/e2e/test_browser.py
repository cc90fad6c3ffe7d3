"""What a person does with the demo, in a real browser against the real command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.servers import wait_for

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIGN_IN = re.compile(r"/_gateway/auth/signin\?callbackUrl=%2Fapp$")
SESSION_COOKIE = "gateway_session"


def chromium() -> str:
    """Return the path of the installed browser, or fail the test."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.fail("chromium is needed by this test and not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address that ``gateway demo`` prints; the demo runs meanwhile."""
    command = [str(Path(sys.executable).with_name("gateway")), "demo", "--port", "0"]
    with tempfile.TemporaryFile("w+") as output:
        demo = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

        def printed() -> str:
            # pread: the demo writes at the same file offset that seeking would move.
            return os.pread(output.fileno(), 100_000, 0).decode()

        def address() -> re.Match[str] | None:
            if demo.poll() is not None:
                pytest.fail(f"gateway demo ended at once:\n{printed()}")
            return re.search(r"^Open  (http://localhost:[0-9]+)/$", printed(), re.MULTILINE)

        try:
            wait_for(address, seconds=15.0, what="gateway demo prints its address")
            found = address()
            assert found is not None
            for user in ("alice / wonderland", "bob / builder"):
                assert user in printed()
            yield found[1]
        finally:
            demo.send_signal(signal.SIGTERM)
            status = demo.wait(10)
            said = printed()
        assert status == 0, said
        for word in ("Traceback", "argon2", '"level":"error"'):
            assert word not in said
        folder = re.search(r"^The configuration is (.+)$", said, re.MULTILINE)
        assert folder is not None
        assert not Path(folder[1]).parent.exists()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    executable = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, url: str) -> AsyncIterator[Page]:
    """A browser that nobody has used; what it complains about fails the test."""
    context = await browser.new_context(base_url=url)
    context.set_default_timeout(10_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        # A status is what several of these tests ask for; a blocked style or form is a fault.
        lambda line: (
            complaints.append(line.text)
            if line.type == "error" and "Failed to load resource" not in line.text
            else None
        ),
    )
    yield page
    await context.close()
    assert complaints == []


async def sign_in(page: Page, user: str, password: str) -> None:
    await page.get_by_label("User name").fill(user)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def sign_out(page: Page) -> None:
    await page.get_by_role("link", name="Sign out").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()


async def header(page: Page, name: str) -> str:
    row = page.locator("#headers tr").filter(has=page.get_by_role("rowheader", name=name))
    return await row.locator("td").inner_text()


async def test_an_ordinary_user_and_then_an_admin(page: Page) -> None:
    # The start page is everybody's; it offers to sign in.
    await page.goto("/")
    await page.get_by_role("link", name="Sign in").click()
    await expect(page).to_have_url(SIGN_IN)

    # A wrong password keeps the name and says so.
    await sign_in(page, "bob", "wonderland")
    await expect(page.get_by_role("alert")).to_contain_text("is wrong")
    await expect(page.get_by_label("User name")).to_have_value("bob")
    await expect(page.get_by_label("Password")).to_have_value("")
    await expect(page.get_by_label("Password")).to_be_focused()

    # Bob sees what the application was told about him, and no cookie.
    await sign_in(page, "bob", "builder")
    await expect(page).to_have_url(re.compile(r"/app$"))
    await expect(page.get_by_role("heading", name="Hello, Bob Builder")).to_be_visible()
    assert await header(page, "X-User-Id") == "bob"
    assert await header(page, "X-User-Email") == "bob@example.com"
    assert await header(page, "X-User-Roles") == "user"
    assert await header(page, "X-User-Permissions") == "headers:read"
    assert await header(page, "X-Auth-Provider") == "local"
    await expect(page.get_by_role("rowheader", name="Cookie")).to_have_count(0)

    # The admins' page is not for him.
    answer = await page.goto("/admin")
    assert answer is not None
    assert answer.status == 403
    await expect(page.get_by_role("heading", name="No access")).to_be_visible()

    await page.goto("/app")
    await sign_out(page)
    answer = await page.goto("/app")
    assert answer is not None
    assert answer.status == 200
    await expect(page).to_have_url(SIGN_IN)

    # Alice is an admin.
    await sign_in(page, "alice", "wonderland")
    await expect(page.get_by_role("heading", name="Hello, Alice Liddell")).to_be_visible()
    assert await header(page, "X-User-Roles") == "admin,user"
    await page.get_by_role("link", name="Admin").click()
    await expect(page.get_by_role("heading", name="Admins only")).to_be_visible()

    await sign_out(page)
    await page.goto("/app")
    await expect(page).to_have_url(SIGN_IN)


async def test_a_websocket_through_the_gateway(page: Page) -> None:
    await page.goto("/chat")
    await sign_in(page, "alice", "wonderland")
    await expect(page).to_have_url(re.compile(r"/chat$"))
    await expect(page.get_by_role("status")).to_have_text("Connected.")
    for text in ("hello", "caf\u00e9 \U0001f511", "x" * 60_000):
        await page.get_by_label("Message").fill(text)
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#log li").last).to_have_text(f"Alice Liddell: {text}")


async def test_scripts_see_who_is_signed_in_and_never_the_cookie(page: Page) -> None:
    await page.goto("/app")
    await sign_in(page, "bob", "builder")
    await expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    ask = "path => fetch(path).then(answer => answer.json())"
    session = await page.evaluate(ask, "/_gateway/auth/session")
    assert session["user"]["id"] == "bob"
    assert session["user"]["roles"] == ["user"]
    assert (await page.evaluate(ask, "/api/me"))["X-User-Id"] == "bob"
    assert await page.evaluate("document.cookie") == ""


async def test_an_api_says_401_to_scripts_and_no_form_of_another_site_signs_in(
    page: Page, url: str
) -> None:
    await page.goto("/")
    ask = "path => fetch(path).then(answer => answer.status)"
    assert await page.evaluate(ask, "/api/me") == 401
    # 127.0.0.1 is another site than localhost, though the same gateway answers there.
    await page.goto(url.replace("localhost", "127.0.0.1") + "/")
    await page.evaluate(
        """action => {
            const form = document.createElement("form");
            form.method = "post";
            form.action = action;
            for (const [name, value] of [["username", "bob"], ["password", "builder"]])
                form.append(Object.assign(document.createElement("input"), {name, value}));
            document.body.append(form);
            form.submit();
        }""",
        f"{url}/_gateway/auth/signin/local",
    )
    await expect(page.get_by_role("heading", name="Form expired")).to_be_visible()
    cookies = await page.context.cookies()
    assert SESSION_COOKIE not in [cookie.get("name") for cookie in cookies]


async def test_every_sign_in_has_a_cookie_of_its_own_and_signing_out_ends_it(page: Page) -> None:
    async def session_cookie() -> str:
        cookies = await page.context.cookies()
        (value,) = [c.get("value", "") for c in cookies if c.get("name") == SESSION_COOKIE]
        return value

    await page.goto("/app")
    await sign_in(page, "bob", "builder")
    await expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    first = await session_cookie()
    await page.goto("/_gateway/auth/signin?callbackUrl=/app")
    await sign_in(page, "alice", "wonderland")
    await expect(page.get_by_role("heading", name="Hello, Alice")).to_be_visible()
    second = await session_cookie()
    assert first != second
    await sign_out(page)
    address = page.url
    for value in (first, second):
        await page.context.add_cookies([{"name": SESSION_COOKIE, "value": value, "url": address}])
        await page.goto("/app")
        await expect(page).to_have_url(SIGN_IN)


async def test_signing_in_needs_no_javascript(browser: Browser, url: str) -> None:
    context = await browser.new_context(base_url=url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/app")
    await expect(page.get_by_label("User name")).to_be_focused()
    await page.keyboard.type("bob")
    await page.keyboard.press("Tab")
    await page.keyboard.type("builder")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Hello, Bob Builder")).to_be_visible()
    await context.close()
