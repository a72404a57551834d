"""bench.html as people see it, in Debian's Chromium."""

import pytest
from browser import assert_sound, needs_browser, visit
from test_bench import hostile_bench

from autoclimb.contest.page import bench_page

pytestmark = [needs_browser, pytest.mark.browser, pytest.mark.long]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    suite, rows = hostile_bench(folder)
    path = folder / "bench.html"
    path.write_text(bench_page(suite, rows, lambda o: None), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing_nothing_is_asked_for_and_the_console_is_silent(browser, page, width, scheme):
    with visit(browser, page, width, color_scheme=scheme) as seen:
        assert_sound(seen, width)


def test_without_scripts_everything_is_there(browser, page):
    with visit(browser, page, java_script_enabled=False) as seen:
        assert seen.page.locator("svg").count() >= 6
        assert seen.page.locator("table").first.is_visible()
