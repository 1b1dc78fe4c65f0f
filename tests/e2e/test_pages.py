"""Every page in a real browser: wide and narrow, light and dark."""

import re

import pytest

from browser import assert_nothing_overflows, chromium, opened
from finesweep.commands.evaluate.confidence import Confidence, Coverage
from finesweep.commands.evaluate.figures import CalibrationBin, HardRow, LabelFigures
from finesweep.commands.evaluate.page import render
from finesweep.commands.evaluate.result import Assessment
from finesweep.commands.report.command import write_report
from finesweep.metrics.intervals import Interval
from folders import NASTY, make_sweep, trial

LOOKS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the report of a sweep with every kind of trial, and HTML in its names."""
    trials = [trial(n, values=(0.8 + 0.001 * (n % 11),)) for n in range(12)]
    trials += [trial(n, "PRUNED", (0.5,)) for n in range(12, 15)] + [trial(15, "FAIL", error=NASTY)]
    return write_report(make_sweep(tmp_path_factory.mktemp("page") / "sweep", trials), pictures=False)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.often("1280-light", "400-dark")
def test_every_figure_of_the_report_is_drawn_and_nothing_overflows(browser, report, width, scheme):
    with opened(browser, report, width, scheme) as (page, said):
        page.wait_for_selector("html[data-drawn]", state="attached")
        drawn = page.evaluate(
            "[...document.querySelectorAll('.plot')].map((p) => p.querySelectorAll('svg').length)"
        )
        assert len(drawn) == 7 + 3 - 1  # data.kind has one value, and no slice
        assert all(drawn)
        inside = (
            "p => [...document.querySelectorAll('.plot')].every((p) => p.scrollWidth <= p.clientWidth + 1)"
        )
        assert page.evaluate(inside)
        assert_nothing_overflows(page)
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        back, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert (back > text) is (scheme == "light")
        title = page.evaluate("getComputedStyle(document.querySelector('#history .xtitle')).fill")
        assert sum(map(int, re.findall(r"\d+", title)[:3])) == text
        point = page.evaluate("document.querySelector('#history .points path').style.fill")
        assert point == ("rgb(0, 114, 178)" if scheme == "light" else "rgb(86, 180, 233)")
        sizes = page.evaluate(
            "[...document.querySelectorAll('#size .xtick')].map((tick) => tick.textContent)"
        )
        assert all(size.endswith("k") for size in sizes if size), sizes
        assert not said


def test_the_leaderboard_is_sorted_by_its_headings_with_the_keyboard_too(browser, report):
    with opened(browser, report, 1280, "light") as (page, said):
        column = "[...document.querySelectorAll('#trials tbody tr')].map((row) => row.cells[0].textContent)"
        assert page.evaluate(column)[0] == "10"  # the best
        page.get_by_role("button", name="trial", exact=True).focus()
        page.keyboard.press("Enter")
        assert page.evaluate(column)[:3] == ["0", "1", "2"]
        page.keyboard.press("Enter")
        assert page.evaluate(column)[:3] == ["15", "14", "13"]
        page.get_by_role("button", name="objective").click()
        assert page.evaluate(column)[-1] == "15"  # without a value
        assert not said


def test_names_with_html_in_them_are_text(browser, report):
    with opened(browser, report, 1280, "light") as (page, said):
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.wait_for_selector("html[data-drawn]", state="attached")
        assert NASTY in page.locator("h1").text_content()
        assert page.locator("#failures ~ .wide td").first.text_content() == NASTY
        assert not said


def test_without_javascript_the_tables_are_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#trials tbody tr").count() == 16
    assert page.get_by_text("The figures need JavaScript").is_visible()
    context.close()


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Return an evaluation's page with every part that some task has, and HTML in its names."""
    names, text = ("first label", "a-long-label-without-a-space-in-it", NASTY), "long " * 200
    found = Assessment(
        "outputs/runs/one/two", "regression", "test split", 3, (NASTY,), names,
        {"accuracy": Interval(0.8, 0.7, 0.9), f"f1/{NASTY}": Interval(0.8, 0.7, 0.9)},
        [LabelFigures(name, 0.5, 0.25, 1 / 3, 12_345, 67) for name in names], [[12_345, 2, 3]] * 3,
        [CalibrationBin(place / 10, place / 10 + 0.1, place / 10 + 0.05, 0.9, 7) for place in range(10)],
        [(-1.7e-8, 0.5), (1.0, 2.5), (0.5, 1e6)], [HardRow(7, NASTY + text, names[1], NASTY, 3.25)] * 20,
        confidence=Confidence(0.1, 1.5, (Coverage(1.0, 0.3, 0.8), Coverage(0.5, 0.9, 0.95))),
        beside={"baseline": {"accuracy": 0.2}, "probe": {"accuracy": 0.75}},
    )  # fmt: skip
    file = tmp_path_factory.mktemp("evaluation") / "evaluation.html"
    file.write_text(render(found))
    return file


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.often("1280-light", "400-dark")
def test_an_evaluation_fits_and_its_pictures_have_their_marks(browser, evaluation, width, scheme):
    with opened(browser, evaluation, width, scheme) as (page, said):
        curve, scatter = page.locator("svg").all()
        assert curve.locator("circle").count() == 10
        assert scatter.locator("circle").count() == 3
        for picture in (curve, scatter):
            box = picture.locator("rect").bounding_box()
            assert box["x"] > 0
            assert box["x"] + box["width"] < width
        assert scatter.locator("text").all_text_contents()[:4] == ["0", "0", "5e+05", "5e+05"]
        assert page.get_by_text(NASTY).count() > 3
        assert_nothing_overflows(page)
        assert not said
