"""Old public names: they work for one version more, and say what they are called now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import TypeVar, cast

Function = TypeVar("Function", bound=Callable)


def warn_renamed(old: str, new: str) -> None:
    """Say, where the caller's caller uses it, that a public name is another one now."""
    message = f"{old} is called {new} now; the old name goes with the next version."
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def old_names(module: str, renamed: dict[str, str], otherwise: Callable[[str], object] | None = None):
    """``__getattr__`` for a module (PEP 562) some of whose names, or submodules, have other names now.

    Args:
        module: Its ``__name__``.
        renamed: Old name to new one.
        otherwise: The module's ``__getattr__`` for all other names.
    """

    def __getattr__(name):
        if name in renamed:
            new = renamed[name]
            warn_renamed(f"{module}.{name}", f"{module}.{new}")
            own = sys.modules[module]
            return getattr(own, new) if hasattr(own, new) else import_module(f"{module}.{new}")
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def old_arguments(**renamed: str) -> Callable[[Function], Function]:
    """Decorator of a function some of whose keyword arguments, old name to new one, have other names now."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def call(*arguments, **options):
            for old in renamed.keys() & options.keys():
                warn_renamed(f"{function.__name__}({old}=)", f"{renamed[old]}=")
                options[renamed[old]] = options.pop(old)
            return function(*arguments, **options)

        return cast(Function, call)

    return decorate
