"""The cell tagged ``parameters``: what papermill reads is read, anything else gets one sentence."""

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rs_course.execution.runner import declared_parameters


def declared(source: str) -> dict:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    return declared_parameters(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ('SEED: int = 0\nPROFILE: str = "fast"', {"SEED": 0, "PROFILE": "fast"}),
        ("%matplotlib inline\nSEED = 0  # of everything", {"SEED": 0}),
        ("%%time\nSEED = 0", {"SEED": 0}),
        ("!pip list\nSEED = 0", {"SEED": 0}),
        ("LOW = HIGH = -1.5", {"LOW": -1.5, "HIGH": -1.5}),
        ("import math\nLATER: int\nSIZES = [64, 128]", {"SIZES": [64, 128]}),
        ("", {}),
    ],
)
def test_what_papermill_reads_is_read(source, values):
    assert declared(source) == values


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("SEED = int(0)", "NAME = literal"),
        ("A, B = 1, 2", "NAME = literal"),
        ("SEED = {[]: 1}", "NAME = literal"),
        ("SEED = = 0", "not Python"),
        ("SEED = '''", "not Python"),
        ("SEED = 0\0", "not Python"),
    ],
)
def test_anything_else_gets_one_sentence(source, message):
    with pytest.raises(ValueError, match=message) as caught:
        declared(source)
    assert "\n" not in str(caught.value)


_PIECES = [
    "SEED",
    "= ",
    "0",
    "'",
    '"""',
    "\n",
    "%",
    "%%time\n",
    "!",
    "?",
    ": int",
    "[",
    "]",
    "{",
    "(",
    "\\",
    " ",
]


@settings(max_examples=200, deadline=None, derandomize=True)
@example("(" * 500)
@example("A = " + "-" * 5000 + "1")
@example("A = " + "9" * 5000)
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_gives_parameters_or_one_sentence(source):
    try:
        assert isinstance(declared(source), dict)
    except ValueError as error:
        assert "parameters cell" in str(error) and "\n" not in str(error)
