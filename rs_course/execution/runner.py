"""Execute one notebook with papermill, measure it, know what its results depend on, and store it.

It is stored in normal form: the same run on another day gives the same file.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from rs_course.files import atomic_write, sha256
from rs_course.jobs import environment
from rs_course.paths import data_dir

if TYPE_CHECKING:
    from nbformat import NotebookNode

# What a stored page says must not depend on who watches: no debugger notice, no progress bars.
QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
TAG = "setup"  # of the cell that installs the course where it is missing
_WIDGET = "application/vnd.jupyter.widget-view+json"
_KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_KEPT_CELL_METADATA = {"tags", "slideshow", "alt", "nbgrader"}
_DROPPED_METADATA = {"papermill", "widgets", "toc", "signature"}


@dataclass(frozen=True)
class Outcome:
    """What one execution took and gave."""

    notebook: object  # the executed notebook (up to the failing cell)
    seconds: float  # wall time, kernel start included
    # Largest resident memory of the kernel and its children together (memory they share counts once for each)
    peak_bytes: int
    error: str | None = None  # one sentence, or ``None`` if every cell ran


def declared_parameters(notebook: NotebookNode) -> dict:
    """Names and default values in the cell tagged ``parameters``, in order.

    An annotation (``SEED: int = 0``) and a magic (``%matplotlib inline``) may stand there, as for papermill.

    Raises:
        ValueError: The cell is not Python, or a default is not a literal, so that nobody can say what the
            notebook runs with.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return _assigned(cell.source)
    return {}


def _assigned(source: str) -> dict:
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        source = re.sub(r"\A\s*%%(time|capture)\b.*", "", source)  # the rest of the cell runs all the same
        # What IPython makes of magics and shell lines is Python, too.
        statements = ast.parse(TransformerManager().transform_cell(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise ValueError(f"the parameters cell is not Python ({reason}): mend it in the notebook.") from None
    found = {}
    for node in statements:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        try:
            found |= {target.id: ast.literal_eval(node.value) for target in targets}
        except (ValueError, TypeError, AttributeError, RecursionError, MemoryError):
            raise ValueError("the parameters cell may only hold lines NAME = literal value.") from None
    return found


def execute(source: Path, output: Path, parameters: dict) -> Outcome:
    """Run a notebook in a fresh kernel, in its own folder, as JupyterLab does.

    Args:
        source: Notebook to run; it is not changed.
        output: Where the executed notebook is written, cell by cell.
        parameters: Values injected after the cell tagged ``parameters``.
    """
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError, execute_notebook

    error, start = None, time.perf_counter()
    with environment(QUIET), _peak_memory() as peak:
        try:
            notebook = execute_notebook(
                source.resolve(),
                output.resolve(),
                parameters=parameters,
                kernel_name="python3",
                language="python",
                # The kernel serves this process only; its notices about transport would bury the progress.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                cwd=source.resolve().parent,
                progress_bar=False,
            )
        except PapermillExecutionError as failure:
            if failure.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from None
            notebook = nbformat.read(output, as_version=4)
            error = f"cell {failure.cell_index} stopped with {failure.ename}: {_first_line(failure.evalue)}"
        except DeadKernelError:
            notebook = nbformat.read(output, as_version=4)
            error = f"the kernel died in cell {_running(notebook)}, as it does where memory runs out"
    return Outcome(notebook, time.perf_counter() - start, peak[0], error)


def _running(notebook) -> int:
    """Number of the cell that was at work: the last that papermill started."""
    started = [i for i, cell in enumerate(notebook.cells) if cell.metadata.papermill.get("start_time")]
    return max(started, default=0)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


@contextmanager
def _peak_memory():
    """Watch the processes started inside the block; yields a list with the peak so far [bytes]."""
    import psutil

    me, peak, done = psutil.Process(), [0], threading.Event()
    older = {child.pid for child in me.children(recursive=True)}

    def watch():
        while not done.wait(0.1):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss if child.pid not in older else 0
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def fingerprint(notebook: NotebookNode, parameters: dict) -> str:
    """Hash of a notebook's sources, its parameters, the package, the shipped data and the installed versions.

    Stored outputs and metadata do not count, so that opening and saving a notebook repeats nothing.
    """
    sources = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    content = json.dumps([sources, parameters, _surroundings()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def _surroundings() -> list:
    package = Path(__file__).resolve().parents[1]
    versions = sorted(f"{d.metadata['Name']}=={d.version}" for d in distributions())
    return [_tree(package, ".py"), _tree(data_dir(), ""), versions]


def _tree(folder: Path, suffix: str) -> list:
    """Relative path and digest of each file; hidden and compiled files do not count."""
    found = []
    for path in sorted(folder.rglob(f"*{suffix}")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in relative.parts):
            found.append((relative.as_posix(), sha256(path)))
    return found


def normalise(notebook: NotebookNode):
    """Return a copy without what changes from run to run.

    Execution counts become sequential; timing, papermill's and the front end's metadata and the version of
    Python go; consecutive stream outputs are joined, as they arrive in pieces of any size; an output that is
    a widget with a fallback (:class:`rs_course.widgets.Panel`) keeps the fallback. What answers a "Predict"
    is folded until its cell runs: JupyterLab opens the outputs of a cell that it runs.
    """
    stored = nbformat.from_dict(copy.deepcopy(notebook))
    for name in _DROPPED_METADATA:
        stored.metadata.pop(name, None)
    stored.metadata.update(kernelspec=_KERNELSPEC, language_info={"name": "python"})
    stored.nbformat, stored.nbformat_minor = 4, 5
    count = 0
    for cell in stored.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in sorted(cell.metadata.items()) if key in _KEPT_CELL_METADATA}
        )
        if TAG in cell.metadata.get("tags", []):
            # It shows nothing where the course is installed; without a number it shifts those of no other.
            cell.execution_count, cell.outputs = None, []
        elif cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_output(output, count) for output in _joined(cell.outputs)]
    _fold_answers(stored.cells)
    return stored


def hides_outputs(cell: NotebookNode) -> bool:
    """Whether the outputs of a cell wait behind a click."""
    return cell.metadata.get("jupyter", {}).get("outputs_hidden", False)


def _fold_answers(cells) -> None:
    """Fold what cells show between a "Predict" and the text that explains it; an exercise stays in view."""
    asked = False
    for cell in cells:
        if cell.cell_type == "markdown" and re.search(r"\*\*(Predict|Explain)\.\*\*|^#", cell.source, re.M):
            # Where one cell explains the last answer and asks the next question, the question comes last.
            asked = "**Predict.**" in cell.source
        elif asked and cell.get("outputs") and not re.search(r"^(check|quiz)\.", cell.source, re.M):
            cell.metadata["jupyter"] = {"outputs_hidden": True}


def store(notebook: NotebookNode, path: str | Path) -> None:
    """Store a normalised notebook; the file appears whole or not at all."""
    with atomic_write(path) as partial:
        nbformat.write(normalise(notebook), partial)


def without_widget(output: NotebookNode):
    """The output with only its fallback, where it has one."""
    data = output.get("data", {})
    if _WIDGET in data and ({"text/html", "image/png"} & set(data)):
        output = nbformat.from_dict(output)
        del output.data[_WIDGET]
    return output


def _output(output, count):
    output = without_widget(output)
    if "execution_count" in output:
        output.execution_count = count
    return output


def _joined(outputs):
    joined = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            joined.append(nbformat.from_dict(output))
    return joined
