"""Marking by hand: what the page shows, that it is blind, that everything typed is on disk at once."""

import base64
import json
import shutil
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib

import pytest

from rs_course.cli import main
from rs_course.grading import batch, gradebook, marking, records
from rs_course.grading.intake import Submission

from .conftest import ANSWERS, PROSE, as_bytes, cell, notebook

EVIL = "</div><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"> 1 < 2"
NAMES = ("ana", "bob", "cem")


def _picture(width, height, red):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + bytes((red, 160, 120)) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


PNG = base64.b64encode(_picture(240, 120, 40)).decode()


def _release():
    tree = notebook({})
    question = {"cell_type": "markdown", "id": "ask", "metadata": {}, "source": "Why is the mean not enough?"}
    tree["cells"].insert(-1, question)
    return as_bytes(tree)


def _source():
    criteria = "- 1.5: names the spread\n- 2,5: says why\nnot a criterion"
    scheme = f"=== BEGIN MARK SCHEME ===\n{criteria}\n=== END MARK SCHEME ==="
    return as_bytes(notebook(ANSWERS, f"{PROSE}\n\n{scheme}"))


def _write_class(folder, answers):
    """Records as the grader writes them, without running anybody's code."""
    for student, answer in answers.items():
        item = {"question": "essay", "points": 4.0, "score": None, "comment": "", **answer}
        record = {
            "student": student,
            "key": "k",
            "seed_sha256": "cd" * 32,
            "status": "graded",
            "manual": [item],
        }
        records.write(folder / "records" / f"{student}.json", record | {"questions": []})


@pytest.fixture
def work(tmp_path):
    picture = {"curve.png": {"image/png": PNG}}
    _write_class(
        tmp_path / "tiny",
        {
            "ana": {"answer": f"{PROSE}\n\n![my curve](attachment:curve.png)", "attachments": picture},
            "bob": {"answer": EVIL},
            "cem": {"answer": f"![](data:image/png;base64,{PNG}) and ![gone](attachment:gone.png)"},
        },
    )
    return marking.Marking(tmp_path / "tiny", marking.questions(_release(), _source()))


def _key(work, student):
    named = marking.Marking(work.folder, list(work.questions.values()), names=True)
    return next(answer["key"] for answer in named.answers("essay") if answer["student"] == student)


def _given(work):
    return gradebook.read_manual(work.folder / "manual.csv")


def test_the_mark_scheme_becomes_criteria(work):
    (asked,) = work.questions.values()
    assert asked.criteria == [(1.5, "names the spread"), (2.5, "says why")] and asked.points == 4
    assert asked.prompt == "Why is the mean not enough?" and asked.reference == PROSE
    assert marking.questions(_release(), None)[0].criteria == []


def test_the_page_is_blind_and_shows_text_and_figures(work):
    page = work.page("essay", "once")
    assert not any(name in page for name in NAMES) and "<script>doc" not in page and 'onerror="' not in page
    assert page.count(f'src="data:image/png;base64,{PNG}"') == 2 and "not in the submission" in page
    assert (
        "[figure 1]" in page
        and "names the spread" in page
        and "names the spread" not in page.split("<main")[0]
    )
    named = marking.Marking(work.folder, list(work.questions.values()), names=True)
    assert all(name in named.page("essay", "once") for name in NAMES)
    assert [a["student"] for a in named.answers("essay")] != sorted(NAMES)


def test_what_is_typed_is_stored_and_taken_back(work):
    work.save("essay", _key(work, "ana"), "3,5", "=well argued", [1])
    work.save("essay", _key(work, "bob"), "", "a thought before the points", [2])
    assert _given(work) == {("ana", "essay"): (3.5, "=well argued")}
    assert "'=well argued" in (work.folder / "manual.csv").read_text()
    again = marking.Marking(work.folder, list(work.questions.values()), names=True)
    shown = {answer["student"]: answer for answer in again.answers("essay")}
    assert shown["ana"]["points"] == 3.5 and shown["ana"]["criteria"] == [1]
    assert shown["bob"]["points"] == "" and shown["bob"]["comment"] == "a thought before the points"
    work.save("essay", _key(work, "ana"), "", "", [])
    assert _given(work) == {}


@pytest.mark.parametrize("points", ["4.5", "-1", "nan", "inf", "two"])
def test_points_that_cannot_be_are_refused(work, points):
    with pytest.raises(ValueError, match="Points go from 0 to 4"):
        work.save("essay", _key(work, "ana"), points, "", [])
    assert _given(work) == {}


def test_points_of_others_survive_a_save(work):
    """Rows typed into the list itself, and those of a student whose record came while the page was open."""
    work.save("essay", _key(work, "ana"), "1", "", [])
    _write_class(work.folder, {"dia": {"answer": "late but good"}})
    text = (work.folder / "manual.csv").read_text()
    (work.folder / "manual.csv").write_text(text + "dia,essay,2,4.0,typed by hand\n")
    work.save("essay", _key(work, "bob"), "3", "", [])
    assert {student: points for (student, _), (points, _) in _given(work).items()} == {
        "ana": 1,
        "bob": 3,
        "dia": 2,
    }


def test_a_hostile_length_of_brackets_costs_no_time(tmp_path):
    _write_class(tmp_path, {"eve": {"answer": "![" * 200_000 + "![](data:image/png;base64,AAAA" * 20_000}})
    asked = marking.questions(_release(), None)
    assert marking.Marking(tmp_path, asked).answers("essay")[0]["figures"] == []


@pytest.fixture
def served(work):
    server, address = marking.serve(work)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield work, address
    server.shutdown()
    server.server_close()


def _post(address, **said):
    data = json.dumps(said).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def test_the_server_needs_its_token_and_saves_at_once(served):
    work, address = served
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert "0 of 3" in answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "form-action 'none'" in policy
    said = {"points": "2", "comment": "fine", "criteria": []}
    assert _post(address + "essay", key=_key(work, "cem"), **said).startswith("saved ")
    assert _given(work) == {("cem", "essay"): (2.0, "fine")}
    wrong = address.rsplit("/", 2)[0] + "/guess/"
    for url, status in ((wrong, 404), (wrong + "essay", 404), (address + "other", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            _post(url, key=_key(work, "cem"), **(said | {"points": "0"}))
        assert refused.value.code == status
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(address + "essay", key=_key(work, "cem"), **(said | {"points": "9"}))
    assert refused.value.code == 400 and "Points go from 0 to 4" in refused.value.read().decode()
    assert _given(work) == {("cem", "essay"): (2.0, "fine")}


def test_marked_on_the_page_and_taken_in_by_the_grader(tiny, isolated, tmp_path):
    tree = notebook(ANSWERS, f"{PROSE} ![it](attachment:a.png)")
    tree["cells"][-1]["attachments"] = {"a.png": {"image/png": PNG}}
    class_ = [Submission(name, as_bytes(tree)) for name in NAMES]
    graded = batch.run(batch.Plan(tiny, tmp_path / "tiny"), class_)
    gradebook.write_manual(tmp_path / "tiny" / "manual.csv", graded)
    work = marking.Marking(tmp_path / "tiny", marking.questions(tiny.release, None))
    assert [answer["figures"] for answer in work.answers("essay")] == [
        [("it", f"data:image/png;base64,{PNG}")]
    ] * 3
    work.save("essay", _key(work, "bob"), "3.5", "good", [])
    marked = gradebook.apply_manual(graded, _given(work))
    assert [record["manual"][0]["score"] for record in marked] == [None, 3.5, None]


def test_kind_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.ipynb").write_bytes(_release())
    (tmp_path / "none.ipynb").write_bytes(as_bytes({"cells": [cell("a", "1", locked=True)]}))
    for arguments, sentence in (
        (["tiny"], "There is no release notebook"),
        (["tiny", "--release", "tiny.ipynb"], "holds no records: run “rs-course grade” first"),
        (["tiny", "--release", "none.ipynb"], "no question that is marked by hand"),
        (["tiny", "--release", "tiny.ipynb", "--source", "x.ipynb"], "no source notebook x.ipynb"),
    ):
        assert main(["mark", *arguments, "--no-browser"]) == 1
        assert sentence in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.browser
def test_keys_in_a_browser(served, tmp_path):
    """One answer by keys alone, another with a comment; what stood there comes back after a reload."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs a Chromium on the system (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    work, address = served
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="dark")
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.click("text=essay")
        assert page.title() == "tiny: essay" and page.locator("section").count() == 3
        for marked in ("1", "0", "1"):  # the second time takes it back
            page.keyboard.press("1")
            page.wait_for_selector(f"#marked:has-text('{marked}')")
        assert [points for points, _ in _given(work).values()] == [1.5]
        page.keyboard.press("2")
        page.keyboard.press("n")
        page.keyboard.press("c")
        page.keyboard.type("jk10 is text here")
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        deadline = time.monotonic() + 20
        while (found := sorted(_given(work).values())) != [(4.0, ""), (4.0, "jk10 is text here")]:
            assert time.monotonic() < deadline, found
            page.wait_for_timeout(50)
        page.keyboard.press("p")
        page.keyboard.type("77")
        page.wait_for_selector("section.now .bad:has-text('points go from 0 to 4')")
        assert sorted(points for points, _ in _given(work).values()) == [4, 4]
        page.reload()
        values = page.locator("input[type=number]").evaluate_all("all => all.map((field) => field.value)")
        assert sorted(values) == ["", "4", "4"]
        assert page.locator("input[type=checkbox]:checked").count() == 4
        assert page.locator("img").evaluate_all("all => all.every((i) => i.naturalWidth === 240)")
        browser.close()
    assert errors == []
