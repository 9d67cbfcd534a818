"""The book is complete, asks no other host, has no dead link, and can be read on any screen, by keyboard."""

import json
import re
import shutil
from pathlib import Path

import pytest
import site_links

from rs_course import cli
from rs_course.execution import book, pages, runner

pytest.importorskip("myst_nb", reason="needs the extra `book` (make book installs it)")

_ROOT = Path(__file__).resolve().parents[2]
_LESSONS = sorted(path.stem for path in (_ROOT / "notebooks").glob("[0-9]*.ipynb"))


def test_it_is_built_without_a_warning(built):
    warned = [line for line in built[1].splitlines() if "WARNING" in line or "ERROR" in line]
    # What a docstring of the package makes Sphinx say is mended in the docstring; it spoils no other page.
    assert [line for line in warned if "docstring of" not in line] == []


def test_no_page_loads_anything_from_another_host_and_no_link_is_dead(site):
    found = site_links.read(site)
    assert found.loaded == []
    assert found.broken == []
    assert any("arxiv.org" in address for address in found.external)


def test_the_reader_of_links_sees_what_it_should(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"><a href="#gone"><a href="b.html"><a href="https://one.example/">'
        '<script src="https://two.example/x.js"></script><img src="c.png">'
        '<p style="background:url(//three.example/x)">',
        encoding="utf-8",
    )
    (tmp_path / "a.css").write_text('@import "https://four.example/y.css";', encoding="utf-8")
    found = site_links.read(tmp_path)
    assert found.broken == ["a.html: #gone", "a.html: b.html", "a.html: c.png"]
    assert found.external == {"https://one.example/"}
    assert [re.search(r"\w+\.example", line)[0] for line in found.loaded] == [
        "two.example", "three.example", "four.example",
    ]  # fmt: skip


def test_each_lesson_is_there_with_its_pictures_described(site, executed):
    lessons = book.executed(executed, _ROOT / "notebooks")
    assert [lesson.name for lesson in lessons] == _LESSONS
    front = (site / "index.html").read_text(encoding="utf-8")
    for lesson in lessons:
        text = (site / "notebooks" / f"{lesson.name}.html").read_text(encoding="utf-8")
        described = [alt for _, alt in book.pictures_of(lesson.notebook)]
        shown = re.findall(r'<img alt="([^"]*)"[^>]*_images/', text)
        assert len(shown) == len(described) and min(map(len, shown)) > 15
        assert "widget-view" not in text
        folded = sum(map(runner.hides_outputs, lesson.notebook.cells))
        assert text.count("Show what the cell shows") == folded > 0
        assert f"notebooks/{lesson.name}.html" in front and f"{lesson.name}.png" in front
        assert pages.promise_of(lesson.notebook)


def test_the_reference_names_what_users_call(site):
    inventory = "".join((site / "api" / f"{name}.html").read_text(encoding="utf-8") for name in (
        "checkpoints", "metrics", "datasets", "simulated_earth", "alignment", "superres", "commands",
    ))  # fmt: skip
    for name in (
        "checkpoints.load", "checkpoints.normalize_metadata", "metrics.psnr", "metrics.fid", "datasets.load",
        "simulated_earth.scene", "alignment.load", "superres.imresize", "Checkpoint.sample",
    ):  # fmt: skip
        assert re.search(rf'id="rs_course\.[\w.]*{re.escape(name)}"', inventory), name
    for command in cli.COMMANDS:
        assert f"usage: rs-course {command}" in inventory


def test_the_times_of_this_run_are_told(site, executed):
    text = (site / "measured.html").read_text(encoding="utf-8")
    for name in _LESSONS:
        record = json.loads((executed / "notebooks" / f"{name}.json").read_text(encoding="utf-8"))
        assert f"{record['seconds']:.0f} s" in text


def test_lessons_too_large_for_binder_are_named():
    def told(*peaks):
        records = ({"profile": "fast", "seconds": 1.0, "peak_bytes": peak} for peak in peaks)
        lessons = [book.Lesson(f"0{n}_x", f"0{n} · X", None, record) for n, record in enumerate(records)]
        return book._times(lessons).splitlines()[-1]

    assert "enough for each of them, one at a time" in told(5e8, 1.8e9)
    # A peak just under 2 GB leaves JupyterLab itself no room.
    assert "enough for each but 01 · X; 02 · X, one at a time" in told(5e8, 1.9e9, 3e9)


@pytest.mark.browser
def test_search_finds_a_word_of_a_lesson(site, page):
    page.goto((site / "search.html").as_uri() + "?q=min-SNR")
    page.get_by_text("Search finished").wait_for(timeout=60_000)
    found = " ".join(page.locator("#search-results li a").all_text_contents())
    assert "Diffusion basics" in found and page.asked == [] and page.errors == []


@pytest.mark.browser
def test_dark_and_light(site, page):
    page.goto((site / "notebooks" / f"{_LESSONS[1]}.html").as_uri())
    page.wait_for_selector("mjx-container svg", state="attached", timeout=30_000)

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    seen = {}
    for mode in ("light", "dark"):
        page.locator(".theme-switch-button:visible").first.click()
        page.locator(f".theme-change-button[data-mode={mode}]:visible").first.click()
        seen[mode] = ground()
    assert seen["light"] != seen["dark"]
    assert page.asked == [] and page.errors == []
    # Words, code and the quiz stand out from their ground in both.
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        for selector in (".bd-article p", ".bd-article pre", ".bd-article details summary"):
            assert _contrast(page, selector) > 4.5, (theme, selector)


def _contrast(page, selector) -> float:
    """WCAG contrast of the first such element's words to the ground that is painted behind them."""
    return page.eval_on_selector(selector, site_links.CONTRAST)


@pytest.mark.browser
def test_a_narrow_screen_scrolls_down_only(site, page):
    page.set_viewport_size({"width": 400, "height": 800})
    for name in (
        "index",
        "measured",
        "glossary",
        "api/metrics",
        "api/commands",
        "data/DATA",
        *(f"notebooks/{n}" for n in _LESSONS),
    ):
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, name


@pytest.mark.browser
def test_the_keyboard_is_enough(site, page):
    page.goto((site / "notebooks" / f"{_LESSONS[0]}.html").as_uri())
    page.keyboard.press("Tab")
    assert "skip" in page.evaluate("document.activeElement.textContent").lower()
    page.keyboard.press("Control+k")
    page.wait_for_function("document.activeElement.matches('input[type=search]')")
    page.keyboard.type("guidance scale")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=guidance*")
    page.wait_for_selector("#search-results li a")
    page.goto((site / "notebooks" / f"{_LESSONS[0]}.html").as_uri())
    assert page.locator("a.right-next").get_attribute("href") == f"{_LESSONS[1]}.html"
    assert page.locator(".highlight button.copybtn").count() > 5


def test_bad_input_gets_one_sentence(tmp_path, executed, capsys):
    def sentence(*arguments):
        assert cli.main(["book", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    assert "run `make course` first" in sentence("--build", tmp_path / "empty")
    (tmp_path / "file").touch()
    work = tmp_path / "work"
    shutil.copytree(executed / "notebooks", work / "notebooks")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert "holds files that are no book" in sentence("--build", work, "--out", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    assert "cannot be written" in sentence("--build", work, "--out", tmp_path / "file" / "book")
    record = work / "notebooks" / f"{_LESSONS[0]}.json"
    kept = record.read_text(encoding="utf-8")
    record.write_text(kept.replace('"error": null', '"error": "cell 3 stopped"'), encoding="utf-8")
    assert "failed (cell 3 stopped)" in sentence("--build", work)
    record.write_text(kept, encoding="utf-8")
    notebook = work / "notebooks" / f"{_LESSONS[0]}.ipynb"
    notebook.write_text(
        notebook.read_text(encoding="utf-8").replace("import numpy as np", "import numpy"), encoding="utf-8"
    )
    assert "was changed since it was executed" in sentence("--build", work)


_WISH = {"label": "Forest", "steps": "4", "guidance": 3.0, "month": 7}


@pytest.fixture
def drawing(site, page):
    """The page that draws, its generator loaded."""
    if not (site / "draw.html").is_file():
        pytest.skip("the page that draws was left out: it needs npm")
    page.goto((site / "draw.html").as_uri())
    page.click("#draw-load")
    page.wait_for_function(
        "/Move a slider|could not/.test(document.getElementById('draw-status').textContent)"
    )
    assert "Move a slider" in page.text_content("#draw-status")
    return page


@pytest.mark.browser
def test_the_page_draws_what_the_package_draws(drawing):
    """From a folder, without a server; and the same pixels as Python, up to rounding."""
    import numpy as np
    import torch

    from rs_course import checkpoints, datasets

    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    wish = {**_WISH, "latents": latents.flatten().tolist()}
    drawn = drawing.evaluate(
        "async wish => Array.from((await drawTile('mini-diffusionsat', wish)).pixels)", wish
    )
    place = {"lon": 9.0, "lat": 48.5, "gsd": 10.0, "cloud_cover": 0.0, "year": 2021, "month": 7, "day": 15}
    wanted = checkpoints.load("mini-diffusionsat").sample(
        datasets.class_prompt("Forest"), metadata=place, latents=latents, steps=4, guidance=3.0
    )
    assert np.abs(np.reshape(drawn, (3, 64, 64)) - wanted[0].numpy()).max() < 5e-3
    assert drawing.asked == [] and drawing.errors == []


@pytest.mark.browser
def test_controls_change_the_tile_and_a_tile_takes_under_two_seconds(drawing):
    def canvas():
        return drawing.evaluate("document.getElementById('draw-canvas').toDataURL()")

    def choose(name, value):
        before = canvas()
        drawing.eval_on_selector(
            f"#draw-{name}",
            "(e, value) => { e.value = value; e.dispatchEvent(new Event('input', {bubbles: true})) }",
            value,
        )
        drawing.wait_for_function(
            "old => document.getElementById('draw-canvas').toDataURL() !== old", arg=before, timeout=30_000
        )
        return canvas()

    few = choose("steps", "0")
    assert float(re.search(r"([\d.]+) s$", drawing.text_content("#draw-badge"))[1]) < 2
    winter = choose("month", "1")
    assert winter != few and "January" in drawing.get_attribute("#draw-canvas", "aria-label")
    assert choose("guidance", "6") != winter
    one = choose("seed", "1")
    choose("seed", "2")
    assert choose("seed", "1") == one
    drawing.select_option("#draw-model", "mini-text2earth")
    drawing.wait_for_function("/mini-text2earth/.test(document.getElementById('draw-badge').textContent)")
    assert not drawing.is_visible("#draw-month") and drawing.asked == []


@pytest.mark.browser
def test_an_old_browser_is_told_so(site, page):
    if not (site / "draw.html").is_file():
        pytest.skip("the page that draws was left out: it needs npm")
    page.add_init_script("delete window.WebAssembly")
    page.goto((site / "draw.html").as_uri())
    page.wait_for_function("/2021 or newer/.test(document.getElementById('draw-status').textContent)")
    assert page.is_disabled("#draw-load") and page.errors == []


def test_without_npm_the_book_has_no_such_page(tmp_path, monkeypatch, executed):
    from rs_course.execution import ways_in

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ways_in.Unavailable, match="npm is not installed"):
        ways_in.write_drawing(tmp_path, tmp_path / "work")
    sources = tmp_path / "sources"
    book.assemble(_ROOT, book.executed(executed, _ROOT / "notebooks"), sources)
    assert "/draw" in (sources / "index.md").read_text(encoding="utf-8")
    book.leave_out_drawing(sources)
    assert not (sources / "draw.md").exists()
    assert "draw" not in (sources / "index.md").read_text(encoding="utf-8")
