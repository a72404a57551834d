"""Debian's Chromium for tests of pages: what a page asks for, complains of, and keeps from people."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")


@dataclass
class Visit:
    """A page that was opened, what its console said, and what it asked for beside itself."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def violations(self) -> list[tuple[str, str]]:
        """What axe-core finds, each (rule, the first element)."""
        from axe_playwright_python.sync_playwright import Axe

        return [(v["id"], v["nodes"][0]["html"][:200]) for v in Axe().run(self.page).response["violations"]]

    def widest(self) -> int:
        """The page's width in pixels, what sticks out included."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


def assert_sound(seen: Visit, width: int) -> None:
    """The page, unfolded in a window of that width, can be read, is quiet, asks for nothing and ran no name as code."""
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert seen.violations() == []
    assert seen.widest() <= width
    assert seen.requests == []
    assert seen.console == []
    assert "owned" not in seen.page.title()[:5]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, headless."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync)")
    with sync_api.sync_playwright() as playwright:
        # in a container root has no user namespaces to build a sandbox from; the pages are our own
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Any, path: Path, width: int = 1400, **options: Any) -> Iterator[Visit]:
    """The page at a path, opened offline in a window of its own."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    visited = Visit(context.new_page())
    visited.page.on("console", lambda message: visited.console.append(message.text))
    visited.page.on("pageerror", lambda error: visited.console.append(str(error)))
    url = path.absolute().as_uri()
    visited.page.on(
        "request", lambda r: visited.requests.append(r.url) if not r.url.startswith(("data:", url)) else None
    )
    visited.page.goto(url)
    try:
        yield visited
    finally:
        context.close()
