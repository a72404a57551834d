"""report.html as people see it, in Debian's Chromium: nothing missing for anybody, nothing asked for, no complaints."""

import pytest
from browser import assert_sound, needs_browser, visit
from run_folders import HOSTILE, run_folder, with_data_facts, with_gallery

from autoclimb.run.reporting import write_report
from autoclimb.run.result import open_run

pytestmark = [needs_browser, pytest.mark.browser, pytest.mark.long]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    runs = {
        "classes": run_folder(place / "classes"),
        "numbers": run_folder(place / "numbers", "regression"),
        "hostile": run_folder(place / "hostile", "multilabel", HOSTILE, name=HOSTILE[0], ids=HOSTILE * 15),
    }
    return {name: write_report(open_run(with_gallery(with_data_facts(folder)))) for name, folder in runs.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("name", ["classes", "numbers", "hostile"])
def test_axe_finds_nothing_nothing_is_asked_for_and_the_console_is_silent(browser, reports, name, width, scheme):
    with visit(browser, reports[name], width, color_scheme=scheme) as seen:
        assert_sound(seen, width)


def test_without_scripts_everything_is_there(browser, reports):
    with visit(browser, reports["classes"], java_script_enabled=False) as seen:
        assert seen.page.locator("svg").count() >= 5
        seen.page.locator("summary").first.click()
        assert seen.page.locator("details[open] table").first.is_visible()
        assert seen.console == []


def test_in_print_the_navigation_is_gone_and_ink_is_black(browser, reports):
    with visit(browser, reports["classes"], color_scheme="dark") as seen:
        seen.page.emulate_media(media="print")
        assert not seen.page.locator("nav").is_visible()
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert seen.page.pdf()[:5] == b"%PDF-"


def test_charts_follow_the_colours_of_the_page(browser, reports):
    bar = "getComputedStyle(document.querySelector('.chart path[fill=\"var(--accent)\"]')).fill"
    seen_colours = set()
    for scheme in ("light", "dark"):
        with visit(browser, reports["classes"], color_scheme=scheme) as seen:
            seen_colours.add(seen.page.evaluate(bar))
    assert len(seen_colours) == 2
