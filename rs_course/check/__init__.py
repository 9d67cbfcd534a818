"""Checks for the notebooks' exercises: one module per subject, one function per exercise.

>>> from rs_course import check
>>> check.orientation.chance_level(lambda classes: 1 / classes)  # doctest: +SKIP
✓ orientation.chance_level: ...
>>> check.hint("orientation.chance_level", 1)  # doctest: +SKIP
"""

from importlib import import_module


def hint(exercise: str, level: int = 1) -> None:
    """Print one of the staged hints of an exercise: 1 is a nudge, the last is nearly the answer.

    Args:
        exercise: Name as the check prints it, e.g. ``"orientation.chance_level"``.
        level: 1, 2 or 3.

    Raises:
        ValueError: No such exercise, or no such level.
    """
    module, _, name = exercise.partition(".")
    try:
        hints = getattr(import_module(f"{__name__}.{module}"), name).hints
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(
            f"there is no exercise {exercise!r}; give the name the check prints, "
            "such as 'orientation.chance_level'."
        ) from None
    if level not in range(1, len(hints) + 1):
        raise ValueError(f"{exercise} has hints 1 to {len(hints)}; {level!r} is none of them.")
    print(f"Hint {level} of {len(hints)}: {hints[level - 1]}")


def __getattr__(name):
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
