"""The notebooks keep the course's form, are stored executed, and every declared parameter changes the run.

That each runs, and prints what is stored, is the work of nbval and ``rs-course run`` (see the Makefile).
"""

import re
import shutil
import statistics
from html import escape
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from rs_course import quiz
from rs_course.execution.pages import write_page
from rs_course.execution.runner import QUIET, declared_parameters, normalise, without_widget
from rs_course.study import results

_FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
_PATHS = sorted(_FOLDER.glob("[0-9]*.ipynb"))
_each_notebook = pytest.mark.parametrize("path", _PATHS, ids=[path.stem for path in _PATHS])


# Skeleton of every notebook: what a reader must find on the page, and the words that show it.
_PARTS = {
    "goals": r"you (can|will)\b",
    "prerequisites": r"you need|prerequisites|^\*\*before:",
    "time and memory per profile": r"\bfast\b.*\d+ ?s\b",
    "a prompt to predict": r"> \*\*Predict\.\*\*",
    "an explanation after running": r"\*\*Explain\.\*\*",
    "takeaways": r"^## .*takeaways",
    "its limits": r"cannot conclude",
    "references with DOI or arXiv": r"arxiv\.org/abs/|arXiv:|doi\.org/",
}


def _read(path):
    return nbformat.read(path, as_version=4)


def _code(notebook):
    """The lesson's own code: the set-up cell is the same in all, see tests/test_ways_in.py."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in code if "setup" not in cell.metadata.get("tags", [])]


def _prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@_each_notebook
def test_cells_are_short_and_the_page_has_its_parts(path):
    notebook = _read(path)
    lengths = [cell.source.count("\n") + 1 for cell in _code(notebook)]
    assert statistics.median(lengths) <= 8
    assert max(lengths) <= 25
    assert sum("setup" not in cell.metadata.get("tags", []) for cell in notebook.cells) <= 45
    prose = _prose(notebook)
    read_aloud = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|\]\([^)]*\)|<[^>]+>", " ", prose, flags=re.S)
    assert len(re.findall(r"\w+", read_aloud)) <= 2500
    for part, words in _PARTS.items():
        assert re.search(words, prose, re.I | re.M), f"{path.name} lacks {part}"
    sources = "\n".join(cell.source for cell in _code(notebook))
    assert f'quiz.show("{path.stem}")' in sources
    assert quiz.load(path.stem)
    assert all("slideshow" in cell.metadata for cell in notebook.cells)


def test_only_what_is_trained_in_a_lesson_is_not_compared():
    """Training amplifies the way a processor rounds; what else a lesson prints is the same everywhere."""
    uncompared = {
        f"{path.stem[:2]} {cell.id}"
        for path in _PATHS
        for cell in _code(_read(path))
        if "nbval-ignore-output" in cell.metadata.get("tags", [])
    }
    assert uncompared == {f"05 cell-{k}" for k in ("07", "12", "15", "35", "38c")}


@_each_notebook
def test_lessons_name_each_other_by_links_that_lead_there(path):
    prose = _prose(_read(path))
    assert re.match(rf"# {path.stem[:2]} · ", prose)
    for words, target in re.findall(r"\[([^]]*)\]\((\d\d_\w+\.ipynb)\)", prose):
        assert (_FOLDER / target).is_file(), target
        assert set(re.findall(r"\b0\d\b", words)) <= {target[:2]}, (words, target)
    plain = re.sub(r"\[[^]]*\]\([^)]*\)", "", prose)
    assert not re.findall(r"(?:notebook|lesson)s? 0\d", plain, re.I)


# A measured number: one with a unit, or with a decimal point that is no number of a section.
_MEASURED = r"(?<![\w.,^{/])\d[\d,]*(?:\.\d+)?(?=\s?(?:%|dB\b|points?\b))|(?<![\w.,^{/])\d+\.\d+(?![\d.])"


def _unprinted(notebook) -> list[str]:
    """Measured numbers of explanations, and beside ±, that no cell prints and no source is named for."""
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    printed = [o.get("text", "") + str(o.get("data", {}).get("text/markdown", "")) for o in outputs]
    quoted = notebook.metadata.get("rs_course", {}).get("quoted", {})
    known = " ".join([*printed, *(number for numbers in quoted.values() for number in numbers)])
    known = set(re.findall(r"\d+(?:\.\d+)?", known.replace(",", "")))
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    explained = "\n".join(source for source in prose if "**Explain.**" in source or "±" in source)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|`[^`]*`|\]\([^)]*\)", " ", explained, flags=re.S)
    return [number for number in re.findall(_MEASURED, text) if number.replace(",", "") not in known]


@_each_notebook
def test_no_explanation_has_a_measured_number_that_the_page_does_not_print(path):
    """Numbers of a result change with the weights; prose that types them would go on saying the old ones."""
    assert _unprinted(_read(path)) == []


def test_a_typed_number_is_found_and_a_printed_or_quoted_one_is_not():
    cell = nbformat.v4.new_code_cell("print(3)")
    cell.outputs = [nbformat.v4.new_output("stream", text="accuracy 81.4 % of 1,200; 7 %")]
    said = (
        "**Explain.** It reaches 81.4 %, 93.0 %, 7 points, 12 dB, 0.25 and 44 % of section 2; $0.5$, `0.7`."
    )
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell(said)])
    assert _unprinted(notebook) == ["93.0", "12", "0.25", "44"]
    measured = nbformat.v4.new_markdown_cell("It names 75.9 ± 0.3 %; 8 %.")
    assert _unprinted(nbformat.v4.new_notebook(cells=[cell, measured])) == ["75.9", "0.3", "8"]
    notebook.metadata["rs_course"] = {"quoted": {"Someone 2020": ["93.0", "12", "0.25"]}}
    assert _unprinted(notebook) == ["44"]


# The end of :mod:`rs_course.deprecation`'s warnings; a run stores them, as IPython shows those of a cell.
_OLD_NAME = "the old name goes with the next version"


def test_a_run_stores_the_warning_about_an_old_name():
    old = "from rs_course.datasets import events\nfrom rs_course.training_loop import EMA\n"
    cell = nbformat.v4.new_code_cell(old + "import torch\nEMA(torch.nn.Linear(1, 1)).model")
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3").execute()
    shown = "".join(output.get("text", "") for output in normalise(notebook).cells[0].outputs)
    assert _OLD_NAME in shown
    assert "rs_course.datasets.events is called" in shown and "EMA.model is called" in shown


@_each_notebook
def test_stored_normalised_executed_and_without_this_machine(path):
    text, notebook = path.read_text(encoding="utf-8"), _read(path)
    assert nbformat.writes(normalise(notebook)).strip() == text.strip(), (
        f"{path.name} is not stored in the normal form: rs-course run {path.stem} --in-place"
    )
    assert path.stat().st_size < 1_502_000
    assert any(cell.outputs for cell in _code(notebook)), "not executed"
    for output in (output for cell in _code(notebook) for output in cell.outputs):
        assert output.output_type != "error"
        shown = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\|site-packages| at 0x", shown), shown
        assert _OLD_NAME not in shown, shown


@_each_notebook
def test_every_picture_has_an_alternative_text(path):
    for cell in _code(_read(path)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt") or cell.metadata.get("alt", "")
                assert len(alt) > 15, f"{path.name}: a picture without alternative text after:\n{cell.source}"
                words = [o.data.get("text/html", "") for o in cell.outputs if "data" in o]
                assert any(escape(alt) in said for said in words), f"JupyterLab does not say: {alt}"


def test_alternative_texts_arrive_in_the_html_page(tmp_path):
    """nbconvert and JupyterLab ignore the texts of pictures in outputs; the course's pages have them."""
    path = _PATHS[-1]
    write_page(_read(path), tmp_path / "page.html", "title")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    shown = [picture["alt"] for picture in page.select(".jp-RenderedImage img")]
    stored = [
        output.metadata["image/png"]["alt"]
        for cell in _code(_read(path))
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert shown == stored


@_each_notebook
def test_exercises_wait_for_an_answer_have_three_hints_and_sound_solutions(path):
    """Stored, each check says "not done"; the page folds a solution away, and the check accepts it."""
    notebook = _read(path)
    imports = [
        line for cell in _code(notebook) for line in re.findall(r"^(?:import|from) .*", cell.source, re.M)
    ]
    names = {}
    exec("\n".join(imports), names)
    assert not any("raise NotImplementedError" in cell.source for cell in _code(notebook))
    for solution in re.findall(r"<summary>Solution</summary>\s*```python\n(.*?)```", _prose(notebook), re.S):
        if solution.startswith("def "):
            exec(solution, names)
        else:  # an exercise that is answered with a dictionary
            assert eval(solution, names)
    exercises = [
        (call, cell)
        for cell in _code(notebook)
        for call in re.findall(r"^check\.(\w+)\.(\w+)\((.*)\);?$", cell.source, re.M)
    ]
    assert len(exercises) >= 3
    for (module, function, answer), cell in exercises:
        exercise = getattr(getattr(names["check"], module), function)
        assert len(exercise.hints) == 3
        assert f"… {module}.{function}: not done yet" in cell.outputs[0].text
        if answer.isidentifier():
            verdict = exercise.judge(names[answer])
            assert verdict, verdict


def _another(name, value, notebook, folder):
    """Another value for a parameter: the notebook's own choice, or the next one of its kind."""
    chosen = notebook.metadata.get("rs_course", {}).get("alternatives", {})
    if name in chosen:
        return chosen[name]
    if name == "STUDY":
        return str(_own_study(value, folder))
    if name == "PROFILE":
        return "full"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + 1
    pytest.fail(f"metadata.rs_course.alternatives of the notebook should name another value for {name}")


def _own_study(shipped, folder):
    """A folder such as a student's own study leaves: a shipped one whose last seed is not run yet."""
    own = folder / "own"
    shutil.copytree(results.shipped(shipped), own)
    rows = results.ledger(own)
    rows[rows["seed"] < rows[rows["seed"] < 90]["seed"].max()].to_parquet(own / results.LEDGER)
    return own


def _outputs(cell):
    """What a reader sees of a cell: text and pictures."""
    seen = []
    for output in cell.outputs:
        output = without_widget(output)
        seen.append((output.get("text"), output.get("ename"), output.get("evalue"), output.get("data")))
    return seen


class _Run:
    """A notebook that is executed as far as somebody asks, in a kernel of its own."""

    def __init__(self, notebook):
        self.cells = _code(notebook)
        self._client = NotebookClient(
            notebook,
            kernel_name="python3",
            allow_errors=True,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            resources={"metadata": {"path": str(_FOLDER)}},
        )
        self._position = {id(cell): i for i, cell in enumerate(notebook.cells)}
        self._done = 0
        self._kernel = self._client.setup_kernel()

    def __enter__(self):
        self._client.reset_execution_trackers()
        self._kernel.__enter__()
        return self

    def __exit__(self, *error):
        return self._kernel.__exit__(*error)

    def outputs(self, index):
        while self._done <= index:
            cell = self.cells[self._done]
            self._client.execute_cell(cell, self._position[id(cell)])
            self._done += 1
        return _outputs(self.cells[index])


def _differs(base, other, offset) -> bool:
    """Whether a cell of the changed run, which has ``offset`` injected cells more, shows something else."""
    for index in range(len(base.cells)):
        seen = other.outputs(index + offset)
        if seen != base.outputs(index):
            stopped = [(name, value) for _, name, value, _ in seen if name]
            # A run may stop only because published data is not here, and then says how to get it.
            assert not stopped or "rs-course fetch" in stopped[0][1], stopped
            return True
    return False


@pytest.mark.slow
@_each_notebook
def test_each_parameter_changes_the_run(path, monkeypatch, tmp_path):
    """Two kernels walk through the notebook side by side, up to the first cell that shows a difference."""
    for name, value in {**QUIET, "RS_COURSE_CACHE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    notebook = _read(path)
    parameters = declared_parameters(notebook)
    assert "PROFILE" in parameters
    with _Run(notebook) as base:
        for name, value in parameters.items():
            changed = {name: _another(name, value, notebook, tmp_path)}
            source = load_notebook_node(str(path))
            other = parameterize_notebook(source, changed, kernel_name="python3", language="python")
            with _Run(other) as run:
                assert _differs(base, run, offset=1), f"{path.name}: {name} changes nothing that is shown"
