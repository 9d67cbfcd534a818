"""The book, built once from the executed notebooks, and a browser to read it with."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """A build folder as ``rs-course run`` leaves it: the checkout's, or the stored notebooks."""
    from rs_course.execution import book

    try:
        book.executed(_ROOT / "build", _ROOT / "notebooks")
    except (FileNotFoundError, ValueError):
        build = tmp_path_factory.mktemp("build")
        (build / "notebooks").mkdir()
        for path in sorted((_ROOT / "notebooks").glob("[0-9]*.ipynb")):
            shutil.copy(path, build / "notebooks")
            record = {"name": path.stem, "title": path.stem, "profile": "fast", "error": None}
            record |= {"seconds": 0.0, "peak_bytes": 0, "fingerprint": None}
            (build / "notebooks" / f"{path.stem}.json").write_text(json.dumps(record), encoding="utf-8")
        return build
    return _ROOT / "build"


@pytest.fixture(scope="session")
def built(executed, tmp_path_factory):
    """The folder of the site, and what was printed while it was built."""
    from rs_course import cli

    site, build = tmp_path_factory.mktemp("site") / "book", tmp_path_factory.mktemp("work")
    shutil.copytree(executed / "notebooks", build / "notebooks")
    if (_ROOT / "build" / "draw").is_dir():  # exports of the same weights need not be made again
        shutil.copytree(_ROOT / "build" / "draw", build / "draw")
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        status = cli.main(["book", "--build", str(build), "--out", str(site)])
    assert status == 0, printed.getvalue()
    return site, printed.getvalue()


@pytest.fixture(scope="session")
def site(built):
    return built[0]


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, driven by playwright."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs a Chromium on the system (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of 1280 by 900 that has no network; ``page.asked`` lists what it asked other hosts for."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url) if _foreign(request.url) else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()


def _foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:"))
