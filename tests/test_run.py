"""rs-course run: progress, what is done again and what is not, failures, interruption, stored form."""

import functools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import site_links
from bs4 import BeautifulSoup

from rs_course import cli
from rs_course.commands import publish
from rs_course.execution import pages, runner

_PARAMETERS = 'PROFILE = "fast"\nSEED = 0'
_COUNT_RUNS = "with open('runs.txt', 'a') as log:\n    log.write('x')\nprint(PROFILE, SEED)"


def _notebook(path: Path, *sources: str, parameters: str = _PARAMETERS) -> Path:
    """Write a notebook with a title, a parameters cell and the given code cells."""
    parameters = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell(f"# Title of {path.stem}"), parameters]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder whose path has a space; the package's own sources count as unchanging."""
    monkeypatch.setattr(runner, "_surroundings", list)
    (tmp_path / "my course").mkdir()
    monkeypatch.chdir(tmp_path / "my course")
    return tmp_path / "my course"


@pytest.mark.slow
def test_runs_once_until_something_changes(folder, capsys):
    path = _notebook(folder / "nbs" / "00_one.ipynb", _COUNT_RUNS)
    runs = folder / "nbs" / "runs.txt"
    assert cli.main(["run", str(path)]) == 0
    line, index = capsys.readouterr().out.splitlines()
    assert line.startswith("[1/1] 00_one: ok (") and line.endswith(" MiB)")
    assert index.endswith("index.html")
    assert cli.main(["run", str(path)]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert runs.read_text() == "x"
    assert cli.main(["run", str(path), "-p", "SEED", "3"]) == 0
    assert runs.read_text() == "xx"
    executed = nbformat.read(folder / "build/notebooks/00_one.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "fast 3\n"
    _notebook(path, _COUNT_RUNS + "\nprint('new')")
    assert cli.main(["run", str(path), "-p", "SEED", "3"]) == 0
    assert runs.read_text() == "xxx"
    assert cli.main(["run", str(path), "-p", "SEED", "3", "--force"]) == 0
    assert runs.read_text() == "xxxx"


def test_measures_memory_and_time_and_writes_an_index(folder):
    hungry = "import numpy, time\nblock = numpy.ones(25_000_000)\ntime.sleep(0.5)"
    path = _notebook(folder / "00_hungry.ipynb", hungry)
    assert cli.main(["run", str(path), "--out", "elsewhere"]) == 0
    record = json.loads((folder / "elsewhere/notebooks/00_hungry.json").read_text())
    assert 200e6 < record["peak_bytes"] < 600e6
    assert 0.5 < record["seconds"] < 60
    index = (folder / "elsewhere/index.html").read_text()
    assert 'href="notebooks/00_hungry.html"' in index
    assert "Title of 00_hungry" in index and 'href="measured.html"' in index
    measured = (folder / "elsewhere/measured.html").read_text()
    assert f"{record['seconds']:.1f} s" in measured and f"{record['peak_bytes'] / 2**20:,.0f} MiB" in measured
    page = (folder / "elsewhere/notebooks/00_hungry.html").read_text()
    assert "Title of 00_hungry" in page


def test_pages_and_index_show_pictures_and_ask_no_other_host(folder):
    """MathJax lies beside the pages; JupyterLab's scripts of other hosts and the set-up cell are left out."""
    draw = "from rs_course import plots\nfrom matplotlib.figure import Figure\n"
    path = _notebook(
        folder / "00_one.ipynb", draw + "plots.show(Figure(figsize=(3, 2)), alt='an empty frame')"
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n\nIn a minute you will see $x_0 < 1$ <b>drawn</b>."
    notebook.cells.insert(1, nbformat.v4.new_code_cell("set_up_cell = 1", metadata={"tags": ["setup"]}))
    nbformat.write(notebook, path)
    assert cli.main(["run", str(path)]) == 0
    found = site_links.read(folder / "build")
    assert found.loaded == found.broken == []
    page = (folder / "build/notebooks/00_one.html").read_text()
    assert "set_up_cell" not in page and not re.search(r"cdnjs|unpkg|jsdelivr", page)
    assert (folder / "build/notebooks/tex-svg-full.js").stat().st_size > 2_000_000
    index = (folder / "build/index.html").read_text()
    assert 'alt="an empty frame" src="data:image/png' in index
    assert "See $x_0 &lt; 1$ &lt;b&gt;drawn&lt;/b&gt;." in index


def test_a_failing_notebook_stops_neither_the_others_nor_the_index(folder, capsys):
    bad = _notebook(folder / "00_bad.ipynb", "1 / 0")
    good = _notebook(folder / "01_good.ipynb", "print('here')")
    assert cli.main(["run", str(bad), str(good)]) == 1
    out, err = capsys.readouterr()
    assert err == "rs-course: 00_bad: cell 2 stopped with ZeroDivisionError: division by zero\n"
    assert "[2/2] 01_good: ok" in out
    assert "ZeroDivisionError" in (folder / "build/index.html").read_text()
    assert cli.main(["run", str(bad), str(good)]) == 1
    assert "[2/2] 01_good: unchanged" in capsys.readouterr().out


def test_a_dead_kernel_stops_neither_the_others_nor_the_index(folder, capsys):
    bad = _notebook(folder / "00_bad.ipynb", "print(1)", "import os\nos.kill(os.getpid(), 9)", "print(2)")
    good = _notebook(folder / "01_good.ipynb", "print('here')")
    assert cli.main(["run", str(bad), str(good)]) == 1
    out, err = capsys.readouterr()
    assert "rs-course: 00_bad: the kernel died in cell 3, as it does where memory runs out\n" in err
    assert "[2/2] 01_good: ok" in out
    assert "the kernel died" in (folder / "build/index.html").read_text()
    assert cli.main(["run", str(bad), "--in-place"]) == 1


def test_a_dead_process_is_named_and_the_index_written(folder, capfd):
    """The notebook kills the process that runs it, two above its own cell: the pool loses it."""
    bad = _notebook(folder / "00_bad.ipynb", "import os\nos.kill(os.getppid(), 9)")
    assert cli.main(["run", str(bad), "--jobs", "2"]) == 1
    assert "rs-course: 00_bad: not finished: a process died" in capfd.readouterr().err
    assert (folder / "build/index.html").exists()


def test_a_record_that_is_not_whole_does_not_count(folder, capsys):
    path = _notebook(folder / "00_one.ipynb", "print(1)")
    assert cli.main(["run", str(path)]) == 0
    for damaged in ("{", "[]", '{"name": 3}', ""):
        (folder / "build/notebooks/00_one.json").write_text(damaged)
        (folder / "build/notebooks/99_other.json").write_text(damaged)
        assert pages.read_record(folder / "build/notebooks/00_one.json") is None
        assert "0 notebooks" in pages.write_index(folder / "build").read_text()
    assert cli.main(["run", str(path)]) == 0
    assert "[1/1] 00_one: ok" in capsys.readouterr().out


_KINDS = 'SEED: int = 0\nFLAG: bool = False\nPROFILE: str = "fast"\nSCALE = 2\nNAMES = ["a"]\nNOTE: str\n'


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FLAG", "true", True),
        ("FLAG", "False", False),
        ("SEED", "3", 3),
        ("SCALE", "2.5", 2.5),
        ("PROFILE", "2024", "2024"),
        ("PROFILE", "true", "true"),
        ("PROFILE", "'full'", "full"),
        ("NAMES", "['b', 'c']", ["b", "c"]),
    ],
)
def test_a_parameter_gets_the_kind_that_the_notebook_declares(folder, name, text, value):
    path = _notebook(folder / "00_kinds.ipynb", parameters="%matplotlib inline\n" + _KINDS)
    assert publish._job(path, {name: text}).changed == {name: value}


def test_a_flag_arrives_as_true(folder):
    path = _notebook(folder / "00_kinds.ipynb", "print(FLAG is True, SEED)", parameters=_KINDS)
    assert cli.main(["run", str(path), "-p", "FLAG", "true", "-p", "SEED", "3"]) == 0
    executed = nbformat.read(folder / "build/notebooks/00_kinds.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "True 3\n"


@pytest.mark.parametrize(
    ("parameters", "asked", "sentence"),
    [
        (_KINDS, ["FLAG", "perhaps"], "FLAG is true or false, not 'perhaps'"),
        (_KINDS, ["SEED", "three"], r"SEED is a number \(0 by default\), not 'three'"),
        (_KINDS, ["SEED", "True"], "SEED is a number"),
        (_KINDS, ["NOTE", "x"], "has no parameter NOTE; it has SEED, FLAG"),
        ("SEED = = 0", [], r"00_bad\.ipynb: the parameters cell is not Python"),
        ("SEED = len('a')", [], r"may only hold lines NAME = literal value"),
        ("SEED, OTHER = 1, 2", [], r"may only hold lines NAME = literal value"),
    ],
)
def test_bad_parameters_are_one_sentence(folder, capsys, parameters, asked, sentence):
    path = _notebook(folder / "00_bad.ipynb", parameters=parameters)
    assert cli.main(["run", str(path), *(["-p", *asked] if asked else [])]) == 1
    err = capsys.readouterr().err
    assert re.search(sentence, err) and err.count("\n") == 1, err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', '{"cells": [], "nbformat": "four"}'])
def test_what_is_no_notebook_is_named(folder, capsys, content):
    (folder / "00_bad.ipynb").write_text(content)
    assert cli.main(["run", "00_bad.ipynb"]) == 1
    err = capsys.readouterr().err
    assert "00_bad.ipynb is not a complete notebook" in err and err.count("\n") == 1, err


@pytest.mark.slow
def test_two_notebooks_at_the_same_time(folder, capfd):
    """Each waits for the other, so one after the other would never end well."""
    meet = "import pathlib, time\npathlib.Path('{0}').touch()\nend = time.time() + 60\n"
    meet += "while not pathlib.Path('{1}').exists():\n    assert time.time() < end\n    time.sleep(0.1)"
    paths = [
        _notebook(folder / "00_a.ipynb", meet.format("a", "b")),
        _notebook(folder / "01_b.ipynb", meet.format("b", "a")),
    ]
    assert cli.main(["run", *map(str, paths), "--jobs", "2"]) == 0
    assert (folder / "build/measured.html").read_text().count(">ok<") == 2
    assert "[2/2] 01_b: ok" in capfd.readouterr().out


def test_interruption_loses_only_the_running_notebook(folder):
    first = _notebook(folder / "00_first.ipynb", "print(1)")
    second = _notebook(folder / "01_second.ipynb", "import time\nopen('started', 'w')\ntime.sleep(60)")
    command = [sys.executable, "-m", "rs_course.cli", "run", first.name, second.name]
    # A shell starts its background jobs deaf to SIGINT, and children inherit that: tests may be such a job.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    deadline = time.monotonic() + 60
    while not (folder / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert (folder / "build/notebooks/00_first.json").exists()
    assert not (folder / "build/notebooks/01_second.json").exists()


def test_kind_errors(folder, capsys):
    path = _notebook(folder / "00_one.ipynb", "print(1)")
    assert cli.main(["run", str(path), "-p", "SEDE", "1"]) == 1
    assert "00_one.ipynb has no parameter SEDE; it has PROFILE, SEED." in capsys.readouterr().err
    assert cli.main(["run", "99"]) == 1
    assert "'99' is not one notebook" in capsys.readouterr().err
    assert cli.main(["run", str(path), "--in-place", "-p", "SEED", "1"]) == 1
    assert "leave -p and --profile out" in capsys.readouterr().err
    assert cli.main(["run", str(path), "--out", str(path)]) == 1
    assert "cannot be written" in capsys.readouterr().err


_UNSTABLE = """
import numpy as np
from rs_course import widgets
for i in range(3):
    print(i, flush=True)
widgets.sliders(lambda t: np.full((8, 8, 3), t, np.uint8), {"t": (0, 9, 1)}, alt="a grey square")
"""


def test_in_place_stores_the_same_bytes_each_time(folder):
    path = _notebook(folder / "00_one.ipynb", _UNSTABLE)
    assert cli.main(["run", str(path), "--in-place"]) == 0
    first = path.read_bytes()
    assert cli.main(["run", str(path), "--in-place"]) == 0
    assert path.read_bytes() == first
    stored = nbformat.read(path, as_version=4)
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    stream, picture, words = stored.cells[-1].outputs
    assert stream.text == "0\n1\n2\n"
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.metadata["image/png"]["alt"] == "a grey square"
    assert "a grey square" in words.data["text/html"]
    assert str(folder).encode() not in first


def test_in_place_keeps_the_old_outputs_when_a_cell_fails(folder):
    path = _notebook(folder / "00_bad.ipynb", "1 / 0")
    before = path.read_bytes()
    assert cli.main(["run", str(path), "--in-place"]) == 1
    assert path.read_bytes() == before


def test_answers_wait_folded_below_a_prediction(tmp_path):
    """A page, a slide and JupyterLab ask first; the output of a check or a quiz stays in view."""
    v4, cells = nbformat.v4, []
    for kind, text in [
        ("markdown", "## 1 · A curve\n\n> **Predict.** Up or down?"),
        ("code", "print('up')"),
        ("code", "def answer(): ...\n\n\ncheck.room.answer(answer);"),
        ("markdown", "**Explain.** Up.\n\n> **Predict.** And then?"),
        ("code", "print('down')"),
        ("markdown", "### Another thing"),
        ("code", "print('shown')"),
    ]:
        cells.append(v4.new_markdown_cell(text) if kind == "markdown" else v4.new_code_cell(text))
        if kind == "code":
            cells[-1].outputs = [v4.new_output("stream", text=f"output of {text}")]
    notebook = runner.normalise(v4.new_notebook(cells=cells))
    assert [i for i, cell in enumerate(notebook.cells) if runner.hides_outputs(cell)] == [1, 4]
    pages.write_page(notebook, tmp_path / "page.html", "title")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    folded = page.select("details:has(> summary)")
    assert ["output of" in part.text for part in folded] == [True, True]
    assert all("open" not in part.attrs for part in folded)
    assert "up" in folded[0].text and "down" in folded[1].text and "output of print('shown')" in page.text


def test_normalise_leaves_its_argument_alone(folder):
    notebook = nbformat.read(_notebook(folder / "a.ipynb", "print(1)"), as_version=4)
    notebook.metadata["papermill"] = {"duration": 1}
    assert "papermill" not in runner.normalise(notebook).metadata
    assert "papermill" in notebook.metadata
