"""Packages whose names load on first use (PEP 562), so that importing them needs no torch."""

from __future__ import annotations

import sys
from importlib import import_module


def attach(package: str, homes: dict[str, str] | None = None, submodules: tuple[str, ...] = ()):
    """``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: The package's ``__name__``.
        homes: Public name to the submodule that defines it.
        submodules: Submodules that are names of the package too.
    """
    homes = homes or {}

    def __getattr__(name):
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        if name in submodules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*vars(sys.modules[package]), *homes, *submodules})

    return __getattr__, __dir__
