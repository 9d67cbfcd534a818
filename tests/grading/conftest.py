"""Notebooks made by code, and a batch of them."""

import json
from pathlib import Path

import pytest

from rs_course.grading import sandbox
from rs_course.grading.grader import Assignment

TINY = Path(__file__).parent / "tiny_exam.py"

STUBS = {
    "double": "def double(x):\n    raise NotImplementedError()",
    "spread": "def spread(values):\n    raise NotImplementedError()",
    "predict": "def predict(values):\n    raise NotImplementedError()",
}
ANSWERS = {
    "double": "def double(x):\n    return 2 * x",
    "spread": "def spread(values):\n    return np.sqrt(((values - values.mean()) ** 2).mean())",
    "predict": "def predict(values):\n    return [int(v > 0.5) for v in values]",
}
PROSE = "Because the mean says nothing about the spread."
FULL = 8.0


def cell(grade_id, source, *, kind="code", **marks):
    nbgrader = {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False, "locked": False}
    nbgrader |= {"task": False, **marks}
    made = {"cell_type": kind, "id": grade_id, "source": source, "metadata": {"nbgrader": nbgrader}}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(answers, prose="YOUR ANSWER HERE", *, change=None):
    """The tiny assignment as a notebook tree; ``change`` may edit the tree."""
    cells = [cell("setup", "import numpy as np", locked=True)]
    for name, stub in STUBS.items():
        cells.append(cell(name, answers.get(name, stub), solution=True))
        cells.append(cell(f"{name}-test", f"exam.check('{name}', {name})", grade=True, locked=True, points=2))
    cells.append(cell("essay", prose, kind="markdown", grade=True, solution=True, points=4))
    tree = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    return (change(tree) or tree) if change else tree


def as_bytes(tree):
    return json.dumps(tree).encode()


@pytest.fixture(scope="session")
def isolated():
    """Skip where bubblewrap or user namespaces are missing."""
    if reason := sandbox.why_no_bubblewrap():
        pytest.skip(f"needs isolation: {reason}")


@pytest.fixture(scope="session")
def tiny():
    from rs_course.grading import exam

    return Assignment(as_bytes(notebook({})), exam.load(TINY), "secret", str(TINY))


@pytest.fixture(scope="session")
def place(isolated):
    with sandbox.Sandbox(preload=("numpy",)) as made:
        yield made
