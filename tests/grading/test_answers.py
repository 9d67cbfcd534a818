"""Answers are found whatever editors and people did to their cells, and prose is never lost silently."""

import json

import pytest

from rs_course.grading import notebook_files, notebooks

from .conftest import ANSWERS, PROSE, STUBS, as_bytes, cell, notebook

RELEASE = notebooks.read(as_bytes(notebook({})))[0]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _tree(answers=ANSWERS, prose=PROSE):
    return notebook(answers, prose)


def _place(tree, grade_id):
    return next(n for n, c in enumerate(tree["cells"]) if c["metadata"]["nbgrader"]["grade_id"] == grade_id)


def _put(tree, grade_id, *cells):
    place = _place(tree, grade_id)
    tree["cells"][place : place + 1] = cells


def _own(source, kind="code"):
    made = {"cell_type": kind, "metadata": {}, "source": source}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _found(tree):
    return notebooks.transplant(RELEASE, notebooks.read(as_bytes(tree))[0])


def _value(source, x=3):
    names = {}
    exec(source, names)
    return names["double"](x)


def _two(first, second, *, marked=True):
    """The answer to ``double`` in two cells; without marks the second is as VS Code splits a cell."""
    tree = _tree()
    rest = cell("double", second, solution=True) if marked else _own(second)
    _put(tree, "double", cell("double", first, solution=True), rest)
    return tree


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ("def twice(x):\n    return 2 * x", "def double(x):\n    return twice(x)", "split into 2"),
        ("def double(x):\n    y = x", "    return 2 * y", "split into 2"),
        ("def double(x):", "    return 2 * x", "split into 2"),
        ("def double(x):\n    return x  # first try", "def double(x):\n    return 2 * x", "the last version"),
        ("def double(x):\n    return x +", "def double(x):\n    return 2 * x", None),
        ("def double(x):\n    return 2 * x", STUBS["double"], None),
        (STUBS["double"], "def double(x):\n    return 2 * x", None),
        ("def double(x):\n    return 2 * x", "def double(x):\n    return 2 * x", "always the same"),
        ("def double(x):\n    return 2 * x", "print(double(4))", "split into 2"),
    ],
)
def test_split_and_copied_cells(first, second, note):
    found = _found(_two(first, second))
    assert _value(found.answers["double"]) == 6 and "double" not in found.untouched
    assert note is None or any(note in text for text in found.notes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def double(x):\n    y = x", "    return 2 * y"),
        ("def twice(x):\n    return 2 * x", "def double(x):\n    return twice(x)"),
        (STUBS["double"], "def double(x):\n    return 2 * x"),
    ],
)
def test_the_other_half_has_lost_its_marks(first, second):
    found = _found(_two(first, second, marked=False))
    assert _value(found.answers["double"]) == 6 and "double" not in found.untouched
    assert any("double" in note for note in found.notes)


def test_merged_cells():
    tree = _tree()
    _put(tree, "double", cell("double", "\n\n".join([ANSWERS["double"], ANSWERS["spread"]]), solution=True))
    del tree["cells"][_place(tree, "spread")]
    found = _found(tree)
    assert "def spread" in found.answers["spread"] and not found.untouched
    assert any("spread was answered in the cell of another answer" in note for note in found.notes)


def test_answered_in_a_copy_of_another_answers_cell():
    tree = _tree({**ANSWERS, "spread": STUBS["spread"]})
    tree["cells"].append(cell("double", ANSWERS["spread"], solution=True))
    found = _found(tree)
    assert "def spread" in found.answers["spread"] and "spread" not in found.untouched
    assert _value("import numpy as np\n" + found.answers["double"]) == 6


@pytest.mark.parametrize("kind", ["markdown", "raw", "heading"])
@pytest.mark.parametrize("fence", ["{}", "```python\n{}\n```", "```\n{}\n```\n"])
def test_code_that_became_text(kind, fence):
    tree = _tree()
    text = fence.format(ANSWERS["double"])
    _put(tree, "double", cell("double", text, kind=kind, solution=True))
    found = _found(tree)
    assert found.answers["double"] == ANSWERS["double"]
    assert any("become text" in note for note in found.notes)


def test_an_untouched_notebook_stays_untouched():
    found = _found(notebook({}))
    assert found.untouched == {*STUBS, "essay"} and not found.notes
    spaced = json.loads(
        as_bytes(notebook({}))
        .decode()
        .replace("raise NotImplementedError()", "raise NotImplementedError()  ")
    )
    assert _found(spaced).untouched == found.untouched


@pytest.mark.parametrize("kind", ["code", "raw"])
def test_prose_of_another_type(kind):
    tree = _tree()
    _put(tree, "essay", cell("essay", PROSE, kind=kind, grade=True, solution=True))
    found = _found(tree)
    assert found.answers["essay"] == PROSE and "essay" not in found.untouched


@pytest.mark.parametrize(
    "own",
    [
        _own(PROSE, "markdown"),
        _own(PROSE, "raw"),
        _own("# " + PROSE),
        _own(f'"""{PROSE}"""'),
        _own(f'print("{PROSE}")'),
        _own(f'display(Markdown("{PROSE}"))'),
        _own(f'answer = "{PROSE}"'),
        _own(PROSE),
    ],
)
@pytest.mark.parametrize("stub", ["kept", "emptied", "deleted"])
def test_displaced_prose_waits_for_a_person(own, stub):
    tree = _tree(prose="" if stub == "emptied" else "YOUR ANSWER HERE")
    tree["cells"].insert(3, own)
    if stub == "deleted":
        del tree["cells"][_place_or_last(tree)]
    found = _found(tree)
    assert PROSE in found.answers["essay"] and "essay" not in found.untouched
    assert any("essay" in note for note in found.notes)


def _place_or_last(tree):
    return max(
        n for n, c in enumerate(tree["cells"]) if c["metadata"].get("nbgrader", {}).get("grade_id") == "essay"
    )


def test_missing_prose_waits_and_an_empty_cell_does_not():
    tree = _tree()
    del tree["cells"][_place(tree, "essay")]
    found = _found(tree)
    assert found.answers["essay"] == "" and "essay" not in found.untouched
    assert any("missing" in note for note in found.notes)
    assert "essay" in _found(_tree(prose="  \n")).untouched
    assert not _found({"cells": [_own("x = 1"), _own("Hello", "markdown")]}).answers.keys() - {"essay"}


def test_two_texts_in_one_prose_cell_wait_for_a_person_with_both():
    def two(first, second, answers=ANSWERS):
        tree = notebook(answers, first)
        tree["cells"].append(cell("why", second, kind="markdown", grade=True, solution=True, points=2))
        return tree

    release = notebooks.read(as_bytes(two("YOUR ANSWER HERE", "YOUR ANSWER HERE", {})))[0]

    def found(*texts):
        return notebooks.transplant(release, notebooks.read(as_bytes(two(*texts)))[0])

    both = f"{PROSE}\n\nWithout the square it would be the mean deviation."
    for texts, empty in (((both, "YOUR ANSWER HERE"), "why"), (("", both), "essay")):
        result = found(*texts)
        assert both in result.answers[empty] and empty not in result.untouched
        assert any(f"{empty} is not filled in" in note for note in result.notes)
    assert found("YOUR ANSWER HERE", "").untouched == {"essay", "why"}
    assert found(PROSE, "Two.").answers["why"] == "Two."


def test_a_source_that_is_no_text_is_an_empty_cell():
    for nothing in (None, {"a": 1}, 5):
        tree = _tree()
        tree["cells"][_place(tree, "double")]["source"] = nothing
        assert "double" in _found(tree).untouched


def test_split_prose_is_joined():
    tree = _tree()
    halves = [cell("essay", text, kind="markdown", grade=True, solution=True) for text in ("One.", "Two.")]
    _put(tree, "essay", *halves)
    assert _found(tree).answers["essay"] == "One.\n\nTwo."


def test_everything_pasted_into_a_fresh_notebook():
    """Colab and Kaggle: no ids, no marks; a question's text tells that it is this assignment."""
    release = notebooks.read(as_bytes(_with_question(notebook({}))))[0]
    tree = _with_question(_tree())
    for one in tree["cells"]:
        one["metadata"] = {}
        one.pop("id", None)
    found = notebooks.transplant(release, notebooks.read(as_bytes(tree))[0])
    assert set(ANSWERS) <= found.answers.keys() - found.untouched
    assert found.answers["essay"] == PROSE
    only_prose = {"cells": [one for one in tree["cells"] if one["cell_type"] == "markdown"]}
    found = notebooks.transplant(release, notebooks.read(as_bytes(only_prose))[0])
    assert found.answers["essay"] == PROSE


def _with_question(tree):
    tree["cells"].insert(0, _own("## 4. Explain why the mean is not enough.", "markdown"))
    return tree


@pytest.mark.parametrize("where", ["id", "cell_id"])
def test_colab_and_deepnote_keep_the_id_in_the_metadata(where):
    tree = _tree()
    for one in tree["cells"]:
        one["metadata"] = {where: one.pop("id")}
    found = _found(tree)
    assert found.answers.keys() >= {*ANSWERS, "essay"} and not found.untouched


def test_attached_figures_come_along():
    tree = _tree(
        prose="![a](attachment:a%20b.png) ![b](attachment:gone.png) ![c](plot.png) ![d](https://x/y.png)"
    )
    tree["cells"][-1]["attachments"] = {"a b.png": {"image/png": [PIXEL[:20], PIXEL[20:]], "text/plain": "a"}}
    found = _found(tree)
    assert found.attachments == {"essay": {"a b.png": {"image/png": PIXEL}}}
    assert [name in " ".join(found.notes) for name in ("a%20b", "gone.png", "plot.png", "x/y.png")] == [
        *(False, True, True, True)
    ]


def test_a_figure_without_words_is_an_answer():
    tree = _tree(prose="YOUR ANSWER HERE")
    tree["cells"][-1]["attachments"] = {"a.png": {"image/png": PIXEL}}
    found = _found(tree)
    assert "essay" not in found.untouched and found.attachments["essay"]


def test_colabs_pictures_in_the_text_are_figures():
    found = _found(_tree(prose=f"See ![](data:image/png;base64,{PIXEL})."))
    assert found.answers["essay"] == "See ![](attachment:figure-1)."
    assert found.attachments["essay"] == {"figure-1": {"image/png": PIXEL}}


def _drawing(picture):
    shown = [
        {"output_type": "display_data", "data": {"image/png": picture, "text/plain": "Figure"}},
        "torn",
        None,
    ]
    return _own("plt.plot(results)") | {"outputs": shown}


def test_figures_that_code_beside_the_text_has_drawn_come_along(monkeypatch):
    tree = _tree(prose="See the figure below.")
    tree["cells"].insert(1, _drawing("far away"))
    tree["cells"].insert(-1, _drawing("above"))
    tree["cells"] += [_drawing("below"), _own("1 + 1") | {"outputs": "none"}, _drawing("lower")]
    pictures = [next(iter(bundle.values())) for bundle in _found(tree).attachments["essay"].values()]
    assert pictures == ["above", "below", "lower"]
    monkeypatch.setattr(notebooks, "_MAX_DRAWN", 12)
    found = _found(tree)
    assert len(found.attachments["essay"]) == 2 and "too many" in " ".join(found.notes)


def test_an_import_in_a_cell_of_its_own_is_named():
    tree = _tree()
    tree["cells"].insert(1, _own("import scipy as sp\nfrom math import tau"))
    assert _found(tree).elsewhere >= {"sp", "tau"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"<<<<<<< HEAD\n{", "conflict"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'{"url": "https://docs.example"}', "no cells"),
        (b"PK\3\4\x14\0\x08\x08", "is a zip under the name"),
        (b"\x1f\x8b\x08\x08", "is a gzip under"),
        (b"%PDF-1.7\n", "is a PDF under"),
        (b"{\\rtf1\\ansi hello}", "word processor"),
        (b'{"cells": [' + b"{}," * 6000 + b"{}]}", "6001 cells"),
    ],
)
def test_what_is_no_notebook_says_what_it_is(data, sentence):
    with pytest.raises(notebooks.Unreadable, match=sentence):
        notebooks.read(data)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings(encoding):
    data = json.dumps(_tree(prose="Größe – naïve"), ensure_ascii=False).encode(encoding)
    cells, _ = notebooks.read(data)
    assert cells[-1].source == "Größe – naïve"


@pytest.mark.parametrize(
    "source", [["a = 1\n", "b = 2"], ["a = 1", "b = 2"], "a = 1\r\nb = 2", "a = 1\rb = 2"]
)
def test_lines_of_a_cell(source):
    (one,), _ = notebooks.read(json.dumps({"cells": [_own(source)]}).encode())
    assert one.source == "a = 1\nb = 2"


def test_format_3():
    old = {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "metadata": {}}
    (one,), notes = notebooks.read(json.dumps({"nbformat": 3, "worksheets": [{"cells": [old]}]}).encode())
    assert one.source == "x = 1\ny = 2" and "format 3" in notes[0]


def test_too_many_figures_are_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr(notebook_files, "MAX_FIGURES", 150)
    tree = _tree()
    tree["cells"][-1]["attachments"] = {f"{n}.png": {"image/png": PIXEL} for n in range(3)}
    cells, notes = notebooks.read(as_bytes(tree))
    assert len(cells[-1].figures) == 1 and "left out" in notes[0]
