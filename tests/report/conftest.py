"""A headless browser that loads nothing but the page, and tells what the page did."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright


class Visit:
    """A page in the browser: what it asked for, and what the console said."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.requests: list[str] = []  # begun, also those that the page's policy refused
        self.sent: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        page.route("**/*", self._send)
        page.goto(path.as_uri())

    def _send(self, route: Route) -> None:
        """Only files leave the browser; the tests reach for no network."""
        self.sent.append(route.request.url)
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            route.abort()


@pytest.fixture(scope="module")  # its loop runs in this thread, and no other can meanwhile
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("BATCHKIT_REQUIRE_BROWSER"):
            pytest.fail("chromium is not there (Debian: apt-get install chromium)")
        pytest.skip("chromium is not there (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # As root in a container there is no user namespace for Chromium's own sandbox.
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens a file; `context` is how the browser stands: its scheme, its size."""
    contexts = []

    def open_(path: Path, **context: object) -> Visit:
        made = browser.new_context(**context)  # type: ignore[arg-type]  # the test knows them
        contexts.append(made)
        return Visit(made.new_page(), path)

    yield open_
    for made in contexts:
        made.close()
