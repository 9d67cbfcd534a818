"""Quizzes that work with no network: a widget while the kernel runs, folded answers in the stored page.

A quiz is ``data/quizzes/<name>.json``: a list of questions, each with ``question``, ``options`` (each with
``text`` and ``why``: the sentence shown after choosing it) and ``answer``, the index of the right option.
"""

from __future__ import annotations

import json
from html import escape

from rs_course.paths import data_dir


def load(name: str) -> list[dict]:
    """Read and check the questions of one notebook.

    Args:
        name: Notebook name, e.g. ``"01_diffusion_basics"``.

    Raises:
        FileNotFoundError: No quiz of this name.
        ValueError: A question lacks a field, or its answer is no index of its options.
    """
    path = data_dir() / "quizzes" / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise FileNotFoundError(f"there is no quiz {name!r}; quizzes: {there}.")
    questions = json.loads(path.read_text(encoding="utf-8"))
    for number, question in enumerate(questions, start=1):
        missing = {"question", "options", "answer"} - set(question)
        if missing:
            raise ValueError(f"{path.name}: question {number} lacks {', '.join(sorted(missing))}.")
        if any({"text", "why"} - set(option) for option in question["options"]):
            raise ValueError(f"{path.name}: question {number} has an option without 'text' and 'why'.")
        if question["answer"] not in range(len(question["options"])):
            raise ValueError(f"{path.name}: the answer of question {number} is no index of its options.")
    return questions


def show(name: str) -> None:
    """Display a quiz; where no kernel runs (GitHub, HTML) the page shows the folded answers."""
    from IPython.display import display

    from rs_course.widgets import Panel

    questions = load(name)
    display(Panel(as_widget(questions), html=as_html(questions), text=f"<Quiz {name}>"))


def as_html(questions) -> str:
    """Questions with each answer folded into a ``<details>`` element, without any script."""
    parts = []
    for number, question in enumerate(questions, start=1):
        options = "".join(f"<li>{escape(option['text'])}</li>" for option in question["options"])
        right = question["options"][question["answer"]]
        letter = chr(ord("a") + question["answer"])
        parts.append(
            f"<p><b>{number}.</b> {escape(question['question'])}</p>"
            f'<ol type="a" style="list-style-type: lower-alpha">{options}</ol>'
            f"<details><summary>Answer</summary><p><b>{letter}.</b> {escape(right['why'])}</p></details>"
        )
    return "\n".join(parts)


def as_widget(questions):
    """Radio buttons that answer with the chosen option's reason, and a line that counts the right answers."""
    import ipywidgets

    score = ipywidgets.HTML()
    results: dict[int, bool] = {}

    def block(number, question):
        choice = ipywidgets.RadioButtons(
            options=[(option["text"], i) for i, option in enumerate(question["options"])],
            value=None,
            layout=ipywidgets.Layout(width="auto"),
        )
        reply = ipywidgets.HTML()

        def answered(change):
            right = change["new"] == question["answer"]
            # The first choice counts; later ones are for reading the other reasons.
            results.setdefault(number, right)
            sign = "✓" if right else "✗"
            reply.value = f"<b>{sign}</b> {escape(question['options'][change['new']]['why'])}"
            score.value = f"{sum(results.values())} of {len(questions)} right at the first choice"

        choice.observe(answered, names="value")
        title = ipywidgets.HTML(f"<b>{number}.</b> {escape(question['question'])}")
        return ipywidgets.VBox([title, choice, reply])

    blocks = [block(number, question) for number, question in enumerate(questions, start=1)]
    return ipywidgets.VBox([*blocks, score])
