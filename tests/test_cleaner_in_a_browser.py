"""suspects.html driven by mouse and keys in Debian's Chromium, from a folder, offline."""

import csv
import time

import numpy as np
import pytest
from browser import needs_browser, visit
from run_folders import HOSTILE, run_folder

from autoclimb.report.cleaner import suspects_page
from autoclimb.run.reporting import record_of, write_suspects
from autoclimb.run.result import open_run
from autoclimb.run.verdicts import read_verdicts
from autoclimb.score.suspects import Suspect

pytestmark = [needs_browser, pytest.mark.browser, pytest.mark.long]
CARDS = "#cards > li"


@pytest.fixture(scope="module")
def cleaner(tmp_path_factory):
    folder = run_folder(tmp_path_factory.mktemp("runs") / "run", rows=300)
    return write_suspects(open_run(folder))[0]


def decided(page) -> str:
    return page.locator("#state").inner_text()


def reload_until(page, words: str) -> None:
    """Reloads the page until its state has these words, twenty times at most.

    What a page stores reaches the renderer of its successor by a way of its own: on a busy machine a moment after it.
    """
    for _ in range(20):
        page.reload()
        if words in decided(page):
            return


def test_keys_decide_and_move_on(browser, cleaner):
    with visit(browser, cleaner) as seen:
        page = seen.page
        page.locator(CARDS).first.focus()
        for key in ("1", "2", "3"):
            page.keyboard.press(key)
        assert "1 keep, 1 drop, 1 relabel" in decided(page)
        assert page.evaluate("[...document.querySelectorAll('#cards > li')].indexOf(document.activeElement)") == 3
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("0")
        assert "1 keep, 1 drop, 0 relabel" in decided(page)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("[...document.querySelectorAll('#cards > li')].indexOf(document.activeElement)") == 2
        assert seen.console == []
        assert seen.requests == []


def test_the_mouse_decides_a_reload_keeps_it_and_the_file_is_what_fit_reads(browser, cleaner, tmp_path):
    with visit(browser, cleaner, accept_downloads=True) as seen:
        page = seen.page
        page.locator(CARDS).nth(0).get_by_role("button", name="drop").click()
        page.locator(CARDS).nth(1).locator("button[data-decision=relabel]").first.click()
        reload_until(page, "0 keep, 1 drop, 1 relabel")
        assert "0 keep, 1 drop, 1 relabel" in decided(page)
        assert page.locator(CARDS).nth(0).get_attribute("data-decision") == "drop"
        with page.expect_download() as download:
            page.locator("#save").click()
        assert download.value.suggested_filename == "decisions.csv"
        path = tmp_path / "decisions.csv"
        download.value.save_as(path)
    verdicts, _ = read_verdicts(path)
    assert sorted(v.decision for v in verdicts) == ["drop", "relabel"]
    with (cleaner.parent / "suspects.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["id"] in {v.id for v in verdicts}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(browser, cleaner, width, scheme):
    with visit(browser, cleaner, width, color_scheme=scheme) as seen:
        seen.page.locator(CARDS).first.focus()
        seen.page.keyboard.press("2")
        assert seen.violations() == []
        assert seen.widest() <= width


def test_hostile_labels_are_text(browser, tmp_path):
    folder = run_folder(tmp_path / "run", "multilabel", HOSTILE, name=HOSTILE[0], ids=HOSTILE * 15)
    with visit(browser, write_suspects(open_run(folder))[0], 360) as seen:
        assert seen.page.title().startswith("Suspects of <script>")
        assert seen.page.locator("#cards script, #cards img:not([src^='data:'])").count() == 0
        assert seen.page.locator(CARDS).count() >= 5
        assert seen.widest() <= 360
        assert seen.console == []
        assert seen.requests == []


def test_ten_thousand_are_drawn_a_page_at_a_time(browser, tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run", rows=10_000, trials=1)))
    classes = record.class_of
    suspects = [Suspect(row, "contradicted", 0.5, int((classes[row] + 1) % 3), 0.9) for row in np.arange(10_000)]
    path = tmp_path / "suspects.html"
    path.write_text(suspects_page(record, suspects))
    with visit(browser, path) as seen:
        assert "of 10,000" in decided(seen.page)
        assert seen.page.locator(CARDS).count() == 60
        seen.page.locator(CARDS).first.focus()
        start = time.monotonic()
        for _ in range(130):
            seen.page.keyboard.press("1")
        assert time.monotonic() - start < 60  # a hang, not a figure: it takes about a second
        assert "130 keep" in decided(seen.page)
        assert seen.page.locator("#place").inner_text() == "Page 3 of 167"


def test_without_scripts_it_says_where_the_list_is(browser, cleaner):
    with visit(browser, cleaner, java_script_enabled=False) as seen:
        assert seen.page.locator("noscript").inner_text().startswith("Deciding needs JavaScript")
