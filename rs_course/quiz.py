"""Quizzes that work with no network: a widget while the kernel runs, folded answers in the stored page.

    quiz.show("00_orientation")                            # questions with options
    quiz.show_origins(tiles, provenance, network)          # real, simulated or generated?

A quiz is ``data/quizzes/<name>.json``: a list of questions, each with ``question``, ``options`` (each with
``text`` and ``why``: the sentence shown after choosing it) and ``answer``, the index of the right option.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np

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


def as_html(questions: list[dict]) -> str:
    """Questions with each answer folded into a ``<details>`` element, without any script."""
    parts = []
    for number, question in enumerate(questions, start=1):
        options = "".join(f"<li>{escape(option['text'])}</li>" for option in question["options"])
        reasons = "".join(
            f"<li>{'✓' if i == question['answer'] else '✗'} {escape(option['why'])}</li>"
            for i, option in enumerate(question["options"])
        )
        style = 'type="a" style="list-style-type: lower-alpha"'
        parts.append(
            f"<p><b>{number}.</b> {escape(question['question'])}</p><ol {style}>{options}</ol>"
            f"<details><summary>Answer: {_letter(question['answer'])}</summary>"
            f"<ol {style}>{reasons}</ol></details>"
        )
    return "\n".join(parts)


# Buttons grow with their text instead of cutting it, and follow the theme's colours.
_STYLE = """<style>
.rs-course-quiz .jupyter-button { width: auto; max-width: 60em; height: auto; min-height: 2.2em;
  white-space: normal; text-align: left; line-height: 1.4; padding: 0.3em 0.8em; }
.rs-course-quiz .jupyter-button:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072B2); }
.rs-course-quiz .widget-html-content { line-height: 1.4; max-width: 60em; }
</style>"""


def as_widget(questions: list[dict]):
    """A button for each option, which answers with the option's reason, and a line that counts right answers.

    Buttons, because the tab key reaches them, and because JupyterLab takes the arrow keys for itself.
    """
    import ipywidgets

    score = ipywidgets.HTML()
    results: dict[int, bool] = {}

    def block(number, question):
        reply = ipywidgets.HTML()
        labels = [f"{_letter(i)})  {option['text']}" for i, option in enumerate(question["options"])]
        full = ipywidgets.Layout(width="auto", height="auto", align_self="flex-start")
        buttons = [ipywidgets.Button(description=label, tooltip="", layout=full) for label in labels]

        def answered(chosen):
            right = chosen == question["answer"]
            # The first choice counts; later ones are for reading the other reasons.
            results.setdefault(number, right)
            sign = "✓" if right else "✗"
            buttons[chosen].description = f"{sign}  {labels[chosen]}"
            why = escape(question["options"][chosen]["why"])
            reply.value = f"<b>{sign} {_letter(chosen)})</b> {why}"
            score.value = f"{sum(results.values())} of {len(questions)} right at the first choice"

        for i, button in enumerate(buttons):
            button.on_click(lambda _, i=i: answered(i))
        title = ipywidgets.HTML(f"<b>{number}.</b> {escape(question['question'])}")
        return ipywidgets.VBox([title, ipywidgets.VBox(buttons), reply])

    blocks = [block(number, question) for number, question in enumerate(questions, start=1)]
    box = ipywidgets.VBox([ipywidgets.HTML(_STYLE), *blocks, score])
    box.add_class("rs-course-quiz")
    return box


def show_origins(tiles: np.ndarray, provenance: Sequence[str], network: Sequence[str]) -> None:
    """Display the game "real, simulated or generated?"; a page without a kernel shows a numbered sheet.

    Args:
        tiles: uint8 ``[N, H, W, 3]``, in the order of the game.
        provenance: Of each tile; the first word is its origin, the right answer.
        network: What a network answered to each tile; its score stands beside the student's.
    """
    from IPython.display import HTML, display

    from rs_course import plots
    from rs_course.widgets import Panel, png_bytes

    right = sum(word == entry.split()[0] for word, entry in zip(network, provenance, strict=True))
    sheet = plots.tiles(
        tiles,
        [str(number) for number in range(1, len(tiles) + 1)],
        provenance=provenance,
        columns=6,
        scale=1.2,
        suptitle="Where does each come from?",
        framed=False,
    )
    alt = f"{len(tiles)} numbered tiles of different origin; the answers are folded below."
    widget = origins_widget(tiles, provenance, network)
    display(Panel(widget, text=f"<Game: {alt}>", png=png_bytes(sheet), alt=alt))
    truth = "".join(f"<li>{escape(entry)}</li>" for entry in provenance)
    score = f"<p>The network names {right} of {len(tiles)}.</p>"
    display(HTML(f"<details><summary>Where each tile comes from</summary>{score}<ol>{truth}</ol></details>"))


def origins_widget(tiles: np.ndarray, provenance: Sequence[str], network: Sequence[str]):
    """One tile after the other with a button for each origin; an answer shows the badge and both scores.

    Args:
        tiles, provenance, network: As for :func:`show_origins`.
    """
    import ipywidgets

    from rs_course import plots
    from rs_course.widgets import png_bytes, shown_picture

    truth = [entry.split()[0] for entry in provenance]
    asked = ipywidgets.HTML(f"Tile 1 of {len(tiles)}: where does it come from?")
    now, last = shown_picture(_enlarged(tiles[0])), shown_picture(b"")
    last.layout.display = "none"
    score, mine = ipywidgets.HTML(), []
    layout = ipywidgets.Layout(width="auto", height="auto")
    buttons = [ipywidgets.Button(description=origin, layout=layout) for origin in sorted(set(truth))]

    def answered(button):
        i = len(mine)
        mine.append(button.description)
        signs = ["✓" if word == truth[i] else "✗" for word in (mine[i], network[i])]
        title = f"you: {signs[0]}  network: {signs[1]}"
        last.value = png_bytes(plots.tiles(tiles[i : i + 1], [title], provenance=provenance[i], scale=2))
        last.layout.display = None
        yours, its = (sum(map(str.__eq__, words, truth)) for words in (mine, network[: i + 1]))
        score.value = f"<b>You: {yours} of {i + 1}. The network: {its} of {i + 1}.</b>"
        if i + 1 < len(tiles):
            asked.value = f"Tile {i + 2} of {len(tiles)}: where does it come from?"
            now.value = _enlarged(tiles[i + 1])
        else:
            asked.value = "That was the last one. Run the cell again to start anew."
            now.layout.display = "none"
            for each in buttons:
                each.disabled = True

    for button in buttons:
        button.on_click(answered)
    wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
    pictures = ipywidgets.HBox([now, last], layout=wrap)
    box = ipywidgets.VBox(
        [ipywidgets.HTML(_STYLE), asked, ipywidgets.HBox(buttons, layout=wrap), score, pictures]
    )
    box.add_class("rs-course-quiz")
    return box


def _enlarged(tile: np.ndarray) -> bytes:
    """PNG of a tile whose pixels are squares of 4 × 4."""
    from rs_course.widgets import png_bytes

    return png_bytes(tile.repeat(4, axis=0).repeat(4, axis=1))


def _letter(index: int) -> str:
    return chr(ord("a") + index)
