"""Quizzes: each shipped one is sound, the widget answers, and the static page needs no script."""

import json

import pytest

from rs_course import paths, quiz

_NAMES = sorted(path.stem for path in (paths.data_dir() / "quizzes").glob("*.json"))
_QUESTION = {
    "question": "1 < 2?",
    "options": [{"text": "no", "why": "count <again>"}, {"text": "yes", "why": "one comes first"}],
    "answer": 1,
}


@pytest.mark.parametrize("name", _NAMES)
def test_shipped_quizzes_are_sound(name):
    questions = quiz.load(name)
    assert len(questions) >= 3
    for question in questions:
        texts = [option["text"] for option in question["options"]]
        assert len(set(texts)) == len(texts) >= 2
        assert all(option["why"].strip() for option in question["options"])
    # A student who always takes the same option must not get them all right.
    assert len({question["answer"] for question in questions}) > 1


def test_the_length_of_an_option_gives_nothing_away():
    """Who always takes the longest option, or always the shortest, gets no more than half of the answers."""
    questions = [question for name in _NAMES for question in quiz.load(name)]
    for extreme in (max, min):
        right = 0
        for question in questions:
            lengths = [len(option["text"]) for option in question["options"]]
            right += lengths.index(extreme(lengths)) == question["answer"]
            assert max(lengths) <= 2 * min(lengths), question["question"]
        assert right <= len(questions) / 2


def test_widget_gives_the_reason_and_counts_first_choices():
    box = quiz.as_widget([_QUESTION])
    title, options, reply = box.children[1].children
    assert "1 &lt; 2?" in title.value
    options.children[0].click()
    assert reply.value == "<b>✗ a)</b> count &lt;again&gt;"
    assert options.children[0].description.startswith("✗  a)  no")
    options.children[1].click()
    assert reply.value == "<b>✓ b)</b> one comes first"
    assert box.children[-1].value == "0 of 1 right at the first choice"


def test_static_page_folds_every_reason_and_has_no_script():
    html = quiz.as_html([_QUESTION])
    folded = html.split("<summary>Answer: b</summary>")[1]
    assert "<li>✗ count &lt;again&gt;</li><li>✓ one comes first</li>" in folded
    assert "<script" not in html
    assert "1 &lt; 2?" in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 2}, "answer of question 1 is no index"),
        ({"options": [{"text": "a"}]}, "question 1 has an option without"),
        ({"question": None}, None),
    ],
)
def test_unsound_quizzes_are_named(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(quiz, "data_dir", lambda: tmp_path)
    (tmp_path / "quizzes").mkdir()
    question = {key: value for key, value in (_QUESTION | change).items() if value is not None}
    (tmp_path / "quizzes" / "bad.json").write_text(json.dumps([question]))
    with pytest.raises(ValueError, match=message or "question 1 lacks question"):
        quiz.load("bad")


def test_unknown_quiz_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match="there is no quiz '99_none'; quizzes:"):
        quiz.show("99_none")
