"""The form in which an executed notebook is stored: the same run on another day gives the same file."""

from __future__ import annotations

import copy
import re

import nbformat

from rs_course.files import atomic_write

_WIDGET = "application/vnd.jupyter.widget-view+json"
_KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_KEPT_CELL_METADATA = {"tags", "slideshow", "alt", "nbgrader"}
_DROPPED_METADATA = {"papermill", "widgets", "toc", "signature"}


def normalise(notebook):
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
        if "setup" in cell.metadata.get("tags", []):
            # It shows nothing where the course is installed; without a number it shifts those of no other.
            cell.execution_count, cell.outputs = None, []
        elif cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_output(output, count) for output in _joined(cell.outputs)]
    _fold_answers(stored.cells)
    return stored


def hides_outputs(cell) -> bool:
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


def write(notebook, path) -> None:
    """Store a normalised notebook; the file appears whole or not at all."""
    with atomic_write(path) as partial:
        nbformat.write(normalise(notebook), partial)


def without_widget(output):
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
