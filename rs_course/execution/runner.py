"""Execute one notebook with papermill, measure it, and know what its results depend on."""

from __future__ import annotations

import ast
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

from rs_course.files import sha256
from rs_course.jobs import environment
from rs_course.paths import data_dir

# What a stored page says must not depend on who watches: no debugger notice, no progress bars.
QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True)
class Outcome:
    """What one execution took and gave.

    Attributes:
        notebook: The executed notebook (up to the failing cell).
        seconds: Wall time, kernel start included.
        peak_bytes: Largest resident memory of the kernel and its children together (memory they share counts
            once for each).
        error: One sentence, or ``None`` if every cell ran.
    """

    notebook: object
    seconds: float
    peak_bytes: int
    error: str | None = None


def declared_parameters(notebook) -> dict:
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
    import nbformat
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
def _peak_memory(interval: float = 0.1):
    """Watch the processes started inside the block; yields a list with the peak so far [bytes]."""
    import psutil

    me, peak, done = psutil.Process(), [0], threading.Event()
    older = {child.pid for child in me.children(recursive=True)}

    def watch():
        while not done.wait(interval):
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


def fingerprint(notebook, parameters: dict) -> str:
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
