"""Quizzes: each shipped one is sound, the widget answers, and the static page needs no script."""

import json

import numpy as np
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


def test_the_game_of_origins_counts_the_student_and_the_network():
    tiles = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (0, 90, 255)])
    provenance = ["simulated · seed 0", "generated · mini-text2earth · seed 0", "real · eurosat"]
    box = quiz.origins_widget(tiles, provenance, ["simulated", "real", "real"])
    _, asked, buttons, score, pictures = box.children
    buttons = {button.description: button for button in buttons.children}
    now, last = pictures.children
    assert list(buttons) == ["generated", "real", "simulated"] and not last.value
    shown = [now.value]
    buttons["simulated"].click()
    assert score.value == "<b>You: 1 of 1. The network: 1 of 1.</b>" and asked.value.startswith("Tile 2 of 3")
    shown += [now.value, last.value]
    buttons["generated"].click()
    assert score.value == "<b>You: 2 of 2. The network: 1 of 2.</b>"
    shown += [now.value, last.value]
    assert len(set(shown)) == 5
    buttons["simulated"].click()
    assert score.value == "<b>You: 2 of 3. The network: 2 of 3.</b>"
    assert all(button.disabled for button in buttons.values()) and now.layout.display == "none"


def test_the_page_of_the_game_shows_a_sheet_and_folds_the_answers(capsys):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    tiles, provenance = np.zeros((2, 8, 8, 3), np.uint8), ["simulated · seed 0", "generated · a<b · seed 0"]
    with capture_output() as captured:
        quiz.show_origins(tiles, provenance, ["generated", "generated"])
    sheet, *_, answers = [output.data for output in captured.outputs]
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(sheet)
    assert "<li>simulated · seed 0</li><li>generated · a&lt;b · seed 0</li>" in answers["text/html"]
    assert "<details>" in answers["text/html"] and "seed 0" not in answers["text/html"].split("<ol>")[0]
    assert "The network names 1 of 2" in answers["text/html"]
