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

import pytest

from rs_course.commands import setup

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
    """JupyterLab on a free port of this machine, with a copy of notebook 00; yields the page's address."""
    shutil.copy(_ROOT / "notebooks" / "00_orientation.ipynb", tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path}"]
    setup.keep_widgets(tmp_path)
    command += [f"--LabApp.app_settings_dir={tmp_path / 'share/jupyter/lab/settings'}"]
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


def _bytes_shown(page) -> str:
    """Hash of the bytes behind the picture that the browser shows."""
    shown = page.eval_on_selector(
        _PICTURE, "async img => Array.from(new Uint8Array(await (await fetch(img.src)).arrayBuffer()))"
    )
    assert bytes(shown[:4]) == b"\x89PNG"
    return hashlib.sha256(bytes(shown)).hexdigest()


@pytest.mark.slow
@pytest.mark.browser
def test_run_all_cells_and_move_a_slider(lab):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs a Chromium on the system (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(lab, timeout=90_000)
        page.locator(".jp-RenderedMarkdown h1", has_text="00 · Orientation").first.wait_for(timeout=90_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
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
        browser.close()
