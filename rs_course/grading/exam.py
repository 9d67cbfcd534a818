"""Exams: what is asked of a student's functions, and how an answer is judged.

A check names an expression (``"psnr(pred, target)"``), a recipe for its inputs, and the expected value. The
same definition serves three places: the student's own notebook, where public checks call the functions
directly; the grader, where the expression is evaluated inside the sandbox and only its *value* comes back;
and the tests of the course. Inputs of hidden checks come from a secret seed, so reading this package does
not reveal an exam.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rs_course.grading import own_work
from rs_course.grading.sandbox import Limits

EXAMS = {
    "a1_alignment": "rs_course.grading.exams.alignment",
    "a2_classification": "rs_course.grading.exams.cl_ledger",
    "a3_super_resolution": "rs_course.grading.exams.super_resolution",
    "final_project": "rs_course.grading.exams.study_ledger",
}


class Wrong(Exception):
    """An answer that is not (fully) right.

    Args:
        message: One fixed sentence that names the mistake. Of a hidden check it is shown only if it stands as
            it is in the exam's source, so that nothing of the inputs or of the result gets into it.
        fraction: Part of the points that the answer still earns.
        measure: Its number for the leaderboard, if it has one all the same.
        detail: What is added in public checks only, such as the shapes: through numbers of its own choice an
            answer could tell what the hidden inputs are.
    """

    def __init__(self, message: str, fraction=0.0, measure: float | None = None, *, detail=""):
        super().__init__(message)
        self.message, self.fraction, self.measure, self.detail = message, fraction, measure, detail


@dataclass(frozen=True)
class Check:
    """One call of a student's code.

    Attributes:
        name: Unique in the exam, e.g. ``"psnr.crop"``.
        question: ``grade_id`` of the solution cell that it examines.
        points: What a right answer earns.
        call: Expression evaluated with the notebook's names and the inputs.
        inputs: ``inputs(rng) -> dict``. Names that begin with an underscore (targets, labels) stay with the
            grader.
        expected: ``expected(**inputs)``: the right value, for :func:`compare`.
        mistakes: Sentence → function of the inputs that makes the value of this mistake.
        tolerance: Largest absolute difference, in units of the expected value's scale (at least 1).
        judge: ``judge(value, inputs)`` instead of ``expected``; raises :class:`Wrong`, may return a number
            for the leaderboard.
        public: Also run in the student's notebook, on the same inputs for everyone.
    """

    name: str
    question: str
    points: float
    call: str
    inputs: Callable
    expected: Callable | None = None
    mistakes: dict = field(default_factory=dict)
    tolerance: float = 1e-4
    judge: Callable | None = None
    public: bool = False


def of_call(question: str, call: str, **shared) -> Callable[..., Check]:
    """A maker of several checks of one call: ``make(name, points, inputs, **fields)``.

    Fields in ``shared`` are those that the checks have in common; each may give its own, and another call.
    """
    return lambda name, points, inputs, call=call, **own: Check(
        name, question, points, call, inputs, **shared | own
    )


@dataclass(frozen=True)
class Exam:
    """The checks of one assignment.

    Attributes:
        name: Name of the assignment, also of its notebook.
        title: For people.
        checks: In the order of the notebook.
        leaderboard: ``(check name, label such as "PSNR gain in dB")``, or ``None``.
        preload: Modules that the sandbox imports once.
        limits: What one submission may use.
        explain: ``(grade_id of a prose answer, question, function)``: the prose explains one line of that
            function, which :mod:`rs_course.grading.own_work` picks; or ``None``.
    """

    name: str
    title: str
    checks: tuple[Check, ...]
    leaderboard: tuple[str, str] | None = None
    preload: tuple[str, ...] = ("numpy", "torch")
    limits: Limits = field(default_factory=Limits)
    explain: tuple[str, str, str] | None = None

    def points(self, question: str) -> float:
        """Points of all checks of one question."""
        return sum(check.points for check in self.checks if check.question == question)

    @property
    def questions(self) -> list[str]:
        """Questions in the order of the notebook."""
        return list(dict.fromkeys(check.question for check in self.checks))

    def check(self, question: str, *functions) -> bool:
        """Run the public checks of a question on the student's functions, here and now, and print what they
        say.

        Args:
            question: ``grade_id`` of the question.
            functions: What the student wrote; each is known to the checks by its ``__name__``.

        Returns:
            Whether all are right. A wrong answer or an exception is a printed line, never an error.
        """
        checks = [check for check in self.checks if check.question == question and check.public]
        if not checks:
            raise ValueError(f"{self.name} has no public checks for {question!r}; it has {self.questions}.")
        right = True
        for check in checks:
            try:
                SeededCheck(check, seed="public").call(functions)
                print(f"✓ {check.name}")
            except NotImplementedError:
                print(f"… {check.name}: not done yet")
                right = False
            except Wrong as wrong:
                print(f"✗ {check.name}: {wrong.message}")
                right = False
            except Exception as error:
                print(f"✗ {check.name}: your code stopped with {type(error).__name__}: {error}")
                right = False
        return right

    def require(self, question: str, *functions) -> None:
        """All checks of a question as one assertion, for nbgrader, which runs hidden tests in place.

        Raises:
            AssertionError: Names the first mistake.
        """
        for check in self.checks:
            if check.question == question:
                try:
                    SeededCheck(check, seed="nbgrader").call(functions)
                except Wrong as wrong:
                    raise AssertionError(f"{check.name}: {wrong.message}") from None

    def own_line(self, function) -> None:
        """Print the line of the student's function that is to be explained, as the grader picks it."""
        line = own_work.line_to_explain(inspect.getsource(function), self.explain[2])
        print("there is no line to explain yet" if line is None else f"Your line: {line}")

    def prose(self, question: str, answers: dict[str, str]) -> str:
        """A prose answer as whoever marks it should read it, out of all answers of the submission: with the
        line that it explains, if it does.
        """
        text = answers.get(question, "")
        if not text.strip() or self.explain is None or question != self.explain[0]:
            return text
        _, code, function = self.explain
        line = own_work.line_to_explain(answers.get(code, ""), function)
        asked = f"has no line to explain in {function}" if line is None else f"is to explain: {line}"
        return f"[This submission {asked}]\n\n{text}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the source that defines the checks: a changed exam is another exam."""
        modules = {inspect.getmodule(check.inputs) for check in self.checks}
        text = "".join(sorted(inspect.getsource(module) for module in modules if module is not None))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class SeededCheck:
    """A check with its inputs for one seed; inputs and expected value are made once, when first needed."""

    def __init__(self, check: Check, seed: str):
        self.check = check
        self._seed = "public" if check.public else seed

    @cached_property
    def inputs(self) -> dict:
        """Fresh arguments of this check."""
        digest = hashlib.sha256(f"{self._seed}/{self.check.name}".encode()).digest()
        return self.check.inputs(np.random.default_rng(int.from_bytes(digest[:16], "big")))

    @cached_property
    def sent(self) -> dict:
        """The inputs without what stays with the grader."""
        return {key: value for key, value in self.inputs.items() if not key.startswith("_")}

    def call(self, functions) -> None:
        """Call functions here and judge their value; raises :class:`Wrong`, or what they raise."""
        names = {function.__name__: function for function in functions}
        self.judge(eval(self.check.call, {**names, **self.sent}))

    @cached_property
    def payload(self) -> dict:
        """The probe that goes into the sandbox."""
        from rs_course.grading.inside import codec

        sent = {key: codec.encode(value) for key, value in self.sent.items()}
        return {"id": self.check.name, "group": self.check.question, "call": self.check.call, "inputs": sent}

    @cached_property
    def _expected(self):
        return self.check.expected(**self.inputs)

    @cached_property
    def _mistakes(self):
        return {sentence: wrong(**self.inputs) for sentence, wrong in self.check.mistakes.items()}

    def judge(self, value: Any) -> float | None:
        """Judge a value that came back.

        Returns:
            The number for the leaderboard, where the check gives one.

        Raises:
            Wrong: With the mistake and what the answer still earns; details only for a public check.
        """
        try:
            if self.check.judge is not None:
                return self.check.judge(value, self.inputs)
            compare(value, self._expected, self.check.tolerance, lambda: self._mistakes)
        except Wrong as wrong:
            if wrong.detail and self.check.public:
                text = f"{wrong.message}: {wrong.detail}"
                raise Wrong(text, wrong.fraction, wrong.measure) from None
            raise
        return None


def compare(value: Any, expected, tolerance: float, mistakes=dict) -> None:
    """Compare type, shape, finiteness and values.

    Raises:
        Wrong: Names the first of these that fails, or the known mistake whose value was given.
    """
    if isinstance(expected, dict):
        if not isinstance(value, dict) or value.keys() != expected.keys():
            raise Wrong(f"the result must be a dict with the keys {list(expected)}")
        for key in expected:
            compare(value[key], expected[key], tolerance, mistakes=dict)
        return
    if isinstance(expected, str):
        if value != expected:
            raise Wrong("the text is not the expected one")
        return
    given, wanted = numbers(value), numbers(expected)
    if close(given, wanted, tolerance):
        return
    for sentence, wrong in mistakes().items():
        if close(given, numbers(wrong), tolerance):
            raise Wrong(sentence)
    if given.shape != wanted.shape:
        raise wrong_shape(given.shape, wanted.shape)
    if not np.isfinite(given).all() and np.isfinite(wanted).all():
        raise Wrong("the result contains NaN or infinite values")
    raise Wrong("the values are not the expected ones")


def by_steps(reached: float, steps, otherwise: str) -> float:
    """Points for a number, which is returned where it earns all of them.

    Args:
        reached: The number.
        steps: ``(least, fraction of the points, what is said below the step before)``, the largest first.
        otherwise: What is said below them all.

    Raises:
        Wrong: With what the number earns, and the number for the leaderboard.
    """
    for least, fraction, sentence in steps:
        if reached >= least:
            if fraction == 1.0:
                return reached
            raise Wrong(sentence, fraction, measure=reached)
    raise Wrong(otherwise, measure=reached)


def wrong_shape(given, wanted, sentence: str = "the result has another shape than expected") -> Wrong:
    """A result of another shape; ``sentence`` may say what usually makes it so."""
    return Wrong(sentence, detail=f"shape {list(given)} instead of {list(wanted)}")


def numbers(value: Any) -> np.ndarray:
    """A plain numeric value as a float64 array.

    Raises:
        Wrong: Nothing was returned, it is not numeric, or no float64 holds it.
    """
    if value is None:
        raise Wrong("nothing was returned: does the function end with return?")
    if type(value).__module__.split(".")[0] == "torch":
        value = value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and value and not all(isinstance(item, int | float) for item in value):
        value = [numbers(item) for item in value]
        if len({item.shape for item in value}) > 1:
            raise Wrong("the result is a list of differently shaped parts, expected one array")
    if isinstance(value, bool | int | float | list | tuple | np.ndarray | np.generic):
        try:
            array = np.asarray(value)
            if array.dtype.kind in "biuf":
                return array.astype(np.float64)
        except (ValueError, OverflowError):
            pass
        items = value if isinstance(value, list | tuple) else [value]
        if any(type(item) is int and item.bit_length() > 64 for item in items):
            raise Wrong("the result contains a whole number that is too large to compare")
    raise Wrong(f"the result is a {type(value).__name__}, expected numbers")


def close(given: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Equal up to ``tolerance`` times the scale of ``wanted``; NaN and infinity stand in the same places."""
    if given.shape != wanted.shape:
        return False
    finite = np.isfinite(wanted)
    scale = max(1.0, float(np.abs(wanted[finite]).max(initial=0.0)))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(given - wanted) <= tolerance * scale
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    return bool(np.where(finite, near, same).all())


def load(name_or_file: str | Path) -> Exam:
    """The exam of one of the course's assignments, or the ``exam`` defined in an instructor's Python file.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
        FileNotFoundError: No such file.
    """
    if str(name_or_file) in EXAMS:
        return importlib.import_module(EXAMS[str(name_or_file)]).exam
    path = Path(name_or_file)
    if path.suffix != ".py":
        raise ValueError(f"There is no exam {str(name_or_file)!r}; the course has {', '.join(EXAMS)}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no exam file {path}.")
    name = "exam_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.exam
