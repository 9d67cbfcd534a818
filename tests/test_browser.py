"""First minutes of a student: notebook 00 in a real JupyterLab and browser; sliders move, and are saved."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
import site_links

from rs_course.commands import setup
from rs_course.execution import runner

_ROOT = Path(__file__).resolve().parents[1]
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_PICTURE = "img.rs-course-picture"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab in its dark theme on a free port, with a copy of notebook 00; yields the page's address."""
    shutil.copy(_ROOT / "notebooks" / "00_orientation.ipynb", tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path}"]
    overrides = tmp_path / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text('{"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}')
    setup.keep_widgets(tmp_path)
    command += [f"--LabApp.app_settings_dir={overrides.parent}"]
    # Its own settings, so that neither this machine's workspaces nor news pop-ups take part.
    own = {name: str(tmp_path / "jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, tmp_path / "lab.log")
            yield f"http://127.0.0.1:{port}/lab/tree/00_orientation.ipynb?token={token}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(url, server, log, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail("JupyterLab did not start:\n" + log.read_text()[-2000:])


def _end_kernels(lab):
    def address(path):
        return lab.replace("/lab/tree/00_orientation.ipynb", path)

    with urllib.request.urlopen(address("/api/sessions"), timeout=30) as answer:
        sessions = json.load(answer)
    for session in sessions:
        end = urllib.request.Request(address(f"/api/sessions/{session['id']}"), method="DELETE")
        urllib.request.urlopen(end, timeout=30).close()


def _bytes_shown(page, which=0) -> str:
    """Hash of the bytes behind a picture that the browser shows."""
    shown = (
        page.locator(_PICTURE)
        .nth(which)
        .evaluate("async img => Array.from(new Uint8Array(await (await fetch(img.src)).arrayBuffer()))")
    )
    assert bytes(shown[:4]) == b"\x89PNG"
    return hashlib.sha256(bytes(shown)).hexdigest()


@pytest.fixture
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs a Chromium on the system (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        shown = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield shown
        shown.close()


def _run_all(page):
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)  # else the runs are lost
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


_GAME = """import numpy as np
from rs_course import quiz
tiles = np.stack([np.full((16, 16, 3), shade, np.uint8) for shade in (40, 90, 200)])
quiz.show_origins(tiles, ["real · a", "simulated · b", "generated · c"], ["real", "real", "generated"])"""
_MAP = """from rs_course import map_editor
from rs_course.checkpoints import maps
def wide(strokes):
    drawn = (maps.painted(maps.classes_of_strokes(strokes, 200)) * 255).byte().permute(1, 2, 0).numpy()
    return drawn.repeat(3, 1)
map_editor.edit_map(wide, alt="A map")"""


@pytest.mark.slow
@pytest.mark.browser
def test_answers_wait_and_the_game_is_played_by_keyboard_in_the_dark(lab, browser, tmp_path):
    v4, question = nbformat.v4, nbformat.v4.new_markdown_cell("# Small\n\n> **Predict.** 6 × 7?")
    asked = v4.new_code_cell("print(6 * 7)", outputs=[v4.new_output("stream", text="42")])
    cells = [question, asked, v4.new_code_cell(_GAME), v4.new_code_cell(_MAP)]
    runner.store(v4.new_notebook(cells=cells), tmp_path / "small.ipynb")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(lab.replace("00_orientation", "small"), timeout=90_000)
    page.locator(".jp-RenderedMarkdown h1", has_text="Small").wait_for(timeout=90_000)
    answer = page.locator(".jp-OutputArea-output", has_text="42")
    page.locator(".jp-OutputPlaceholder").first.wait_for(timeout=30_000)
    assert not answer.is_visible()
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached", timeout=30_000)
    _run_all(page)
    game = page.locator(".rs-course-quiz")
    game.locator("button").first.wait_for(timeout=300_000)
    assert answer.is_visible(), "a cell that runs shows its answer"
    game.locator("button", has_text="real").focus()
    page.keyboard.press("Enter")
    game.get_by_text("You: 1 of 1. The network: 1 of 1.").wait_for(timeout=60_000)
    game.locator("button", has_text="generated").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    game.get_by_text("You: 1 of 2. The network: 1 of 2.").wait_for(timeout=60_000)
    words = [*game.locator("button").all(), game.get_by_text("You: 1 of 2"), game.get_by_text("Tile 3 of 3")]
    contrasts = [word.evaluate(site_links.CONTRAST) for word in words]
    assert min(contrasts) >= 4.5, contrasts
    _draw_a_stroke(page)


def _draw_a_stroke(page):
    """Two clicks on the map: nothing shrinks, and the picture keeps its ratio."""

    def sizes():
        boxes = [box.bounding_box() for box in (cell(3, 3), page.locator(_PICTURE).last)]
        return [(round(box["width"]), round(box["height"])) for box in boxes]

    def cell(row, column):
        return page.locator(f"button[title='row {row}, column {column}']")

    cell(3, 3).wait_for(timeout=60_000)
    before, (square, picture) = _bytes_shown(page, -1), sizes()
    assert square == (18, 18) and picture == (600, 200)
    cell(3, 3).click()
    cell(9, 12).press("Enter")
    deadline = time.monotonic() + 60
    while _bytes_shown(page, -1) == before and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert _bytes_shown(page, -1) != before
    assert sizes() == [square, picture]


@pytest.mark.slow
@pytest.mark.browser
def test_run_all_cells_and_move_a_slider(lab, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(lab, timeout=90_000)
    page.locator(".jp-RenderedMarkdown h1", has_text="00 · Orientation").first.wait_for(timeout=90_000)
    _run_all(page)
    page.wait_for_selector(_PICTURE, state="attached", timeout=300_000)
    before = _bytes_shown(page)
    # JupyterLab drops the alternative texts of pictures; the words behind each are for screen readers.
    page.wait_for_selector("p.rs-course-alt", state="attached", timeout=60_000)
    assert "Ten simulated satellite tiles" in page.locator("p.rs-course-alt").first.text_content()
    month = page.locator(".widget-slider", has_text="month").locator(".noUi-handle")
    month.scroll_into_view_if_needed()
    month.focus()
    for _ in range(5):
        month.press("ArrowLeft")
    # The kernel answers the slider when it has run all the cells that were asked for.
    deadline = time.monotonic() + 300
    while _bytes_shown(page) == before and time.monotonic() < deadline:
        page.wait_for_timeout(300)
    assert _bytes_shown(page) != before
    options = page.locator(".rs-course-quiz button", has_text="a)")  # the game of origins has no letters
    options.first.wait_for(state="attached", timeout=300_000)
    options.first.scroll_into_view_if_needed()
    options.first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".rs-course-quiz button", has_text="✓  b)").first.wait_for(timeout=60_000)
    shown = _bytes_shown(page)
    page.keyboard.press("Control+s")
    page.wait_for_timeout(5000)
    page.close()
    _end_kernels(lab)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(lab + "&reset", timeout=90_000)
    page.wait_for_selector(_PICTURE, state="attached", timeout=90_000)
    assert _bytes_shown(page) == shown
    page.locator(".rs-course-quiz button", has_text="✓  b)").first.wait_for(timeout=60_000)
    assert "Error displaying widget" not in page.inner_text("body")
