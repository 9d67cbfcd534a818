"""Slide decks: every marked cell is there, nothing is cut off, no other host is asked."""

import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
import site_links

from rs_course import cli
from rs_course.execution import book, runner, slides

_ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("sphinx_revealjs", reason="needs the extra `book` (make slides installs it)")


@pytest.fixture(scope="module")
def decks(executed, tmp_path_factory):
    build = tmp_path_factory.mktemp("slides")
    shutil.copytree(executed / "notebooks", build / "notebooks")
    assert cli.main(["slides", "--build", str(build)]) == 0
    return build / "slides"


def _cell(text, mark, kind="markdown"):
    cell = nbformat.v4.new_markdown_cell(text) if kind == "markdown" else nbformat.v4.new_code_cell(text)
    cell.metadata["slideshow"] = {"slide_type": mark}
    return cell


def test_marks_make_stacks_and_what_is_too_long_goes_on():
    long = "\n\n".join(["A paragraph of some length that fills a line or two of a slide. " * 3] * 12)
    notebook = nbformat.v4.new_notebook(cells=[
        _cell("# Title", "slide"), _cell("hidden()", "skip", "code"), _cell("beside it", "fragment"),
        _cell("## Next", "slide"), _cell("below", "subslide"), _cell(long, "-"),
    ])  # fmt: skip
    stacks = slides.deck(notebook)
    assert [slide.heading for slide in (stacks[0][0], stacks[1][0])] == ["Title", "Next"]
    assert len(stacks[0]) == 1 and "beside it" in "".join(stacks[0][0].pieces)
    assert len(stacks[1]) >= 4 and all(slide.lines <= slides._LINES for slide in stacks[1])
    shown = "".join(piece for stack in stacks for slide in stack for piece in slide.pieces)
    assert "hidden" not in shown and shown.count("A paragraph") == 36


def test_every_picture_of_a_marked_cell_is_on_a_slide(executed):
    for lesson in book.executed(executed, _ROOT / "notebooks"):
        shown = "".join(p for stack in slides.deck(lesson.notebook) for slide in stack for p in slide.pieces)
        cells = [c for c in lesson.notebook.cells if c.metadata.slideshow.slide_type not in ("skip", "notes")]
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        pictures = [data["image/png"].strip() for data in outputs if "image/png" in data]
        assert len(pictures) > 3 and all(picture in shown for picture in pictures), lesson.name
        assert "IPython.core.display" not in shown, "a table that a cell makes is shown as one"


def test_headings_wait_for_their_code_and_long_tables_are_cut():
    rows = "\n".join(["| a | b |", "| --- | --- |", *(f"| row {n} | x |" for n in range(40))])
    notebook = nbformat.v4.new_notebook(cells=[
        _cell("## ✎ Exercise", "slide"), _cell("f()", "subslide", "code"), _cell("### Words", "subslide"),
        _cell(rows, "-"), _cell("## Quiz", "slide"),
    ])  # fmt: skip
    first, *more = slides.deck(notebook)[0]
    assert "f" in first.pieces[1] and len(more) == 4
    assert all("<th" in slide.pieces[-1] and "row" in slide.pieces[-1] for slide in more)
    assert len(slides.deck(notebook)) == 1, "a heading without anything below it is no slide"


def test_an_answer_does_not_stand_on_the_slide_that_asks():
    cells = [_cell("## A\n\n> **Predict.** Up?", "slide"), _cell("print('up')", "fragment", "code")]
    cells[1].outputs = [nbformat.v4.new_output("stream", text="up")]
    (slide,) = slides.deck(nbformat.v4.new_notebook(cells=cells))[0]
    assert len(slide.pieces) == 2
    asks, answers = slides.deck(runner.normalise(nbformat.v4.new_notebook(cells=cells)))[0]
    assert "Predict" in asks.pieces[0] and "up" in answers.pieces[-1]


def test_no_deck_loads_anything_from_another_host(decks):
    found = site_links.read(decks)
    assert found.loaded == []
    assert found.broken == []


@pytest.mark.browser
def test_nothing_is_cut_off_and_nothing_is_tiny(decks, page):
    page.set_viewport_size({"width": 1280, "height": 720})
    for path in sorted(decks.glob("[0-9]*.html")):
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]", state="attached", timeout=120_000)
        measured = page.evaluate(
            """() => Reveal.getSlides().map(slide => {
                 const at = Reveal.getIndices(slide); Reveal.slide(at.h, at.v);
                 const inside = [...slide.querySelectorAll(".fit, .fit *")];
                 const boxes = inside.map(e => e.getBoundingClientRect());
                 return [+slide.querySelector(".fit").dataset.zoom, Math.max(...boxes.map(b => b.right)),
                         Math.max(...boxes.map(b => b.bottom))] })"""
        )
        assert len(measured) > 15
        for number, (zoom, right, bottom) in enumerate(measured):
            assert zoom > 0.6 and right <= 1281 and bottom <= 721, (path.name, number, zoom, right, bottom)
    assert page.asked == [] and page.errors == []


@pytest.mark.browser
def test_the_topics_lead_to_their_slides(decks, page):
    page.goto((decks / "index.html").as_uri())
    for path in decks.glob("[0-9]*.html"):
        links = [link.get_attribute("href") for link in page.locator(f"p a[href^='{path.name}#']").all()]
        assert len(links) > 4
        text = page.locator(f"a[href='{links[3]}']").text_content()
        deck = page.context.new_page()
        deck.goto(f"{path.as_uri()}#{links[3].partition('#')[2]}")
        deck.wait_for_selector("body[data-ready]", state="attached", timeout=120_000)
        assert text.split()[-1] in deck.locator("section.present section.present").text_content()
        deck.close()


def test_a_release_file_has_the_hash_of_everything_in_it(tmp_path):
    from rs_course.commands import publish

    (tmp_path / "site" / "a").mkdir(parents=True)
    (tmp_path / "site" / "a" / "x.html").write_text("x", encoding="utf-8")
    (tmp_path / "site" / ".hidden").write_text("y", encoding="utf-8")
    first, second = tmp_path / "one" / "book.zip", tmp_path / "two" / "book.zip"
    for target in (first, second):
        target.parent.mkdir()
        publish.pack(tmp_path / "site", target)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == ["book/a/x.html", "book/SHA256SUMS"]
        assert archive.read("book/SHA256SUMS").decode().endswith("  a/x.html\n")


def test_release_files_need_the_book(tmp_path, executed, capsys):
    shutil.copytree(executed / "notebooks", tmp_path / "notebooks")
    assert cli.main(["release-files", "--build", str(tmp_path)]) == 1
    assert "run `make book` first" in capsys.readouterr().err
