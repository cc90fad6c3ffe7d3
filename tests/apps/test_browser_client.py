"""The frameworks' own browser clients, in a real browser, with the gateway's endpoints."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.apps.behind import Behind, Start
from tests.e2e.test_browser import FLAGS, chromium, sign_in


@pytest.fixture(params=["nextauth", "authjs"])
def behind(request: pytest.FixtureRequest, start: Start) -> Behind:
    return start(request.param)


@pytest.fixture
async def page(behind: Behind) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        context = await browser.new_context(base_url=behind.gateway.origin)
        context.set_default_timeout(10_000)
        yield await context.new_page()
        await browser.close()


async def click(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_the_client_signs_in_updates_and_signs_out(page: Page) -> None:
    await page.goto("/client")
    status, name = page.locator("#status"), page.locator("#name")
    await expect(status).to_have_text("unauthenticated")
    await click(page, "sign in wrongly")
    await expect(status).to_have_text("unauthenticated")
    await click(page, "sign in")
    await expect(status).to_have_text("authenticated")
    await expect(name).to_have_text("Ada Lovelace")
    await click(page, "update")
    await expect(status).to_have_text("authenticated")
    await expect(name).to_have_text("Ada Lovelace")  # without callbacks it changes nothing
    await page.goto("/server")
    await expect(page.locator("#status")).to_have_text("Signed in as Ada Lovelace")
    await page.goto("/client")
    await expect(status).to_have_text("authenticated")
    await click(page, "sign out")
    await expect(status).to_have_text("unauthenticated")
    await page.goto("/server")
    await expect(page.locator("#status")).to_have_text("Not signed in")


async def test_the_client_sends_people_to_the_gateway_s_page_and_back(page: Page) -> None:
    await page.goto("/client")
    await click(page, "sign in elsewhere")
    await expect(page).to_have_url(re.compile(r"/api/auth/signin\?"))
    await sign_in(page, "ada", "correct horse")
    await expect(page.locator("#status")).to_have_text("authenticated")
    assert urlsplit(page.url).path == "/client"
