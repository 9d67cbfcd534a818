"""Reading the official outputs in ``../shared/fixtures``, and measuring how far the product is from them."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
ROWS = []  # (set, case, quantity, largest difference, what is allowed); printed at the end by conftest.py


class Golden:
    """One fixture set: ``set[name]`` is an array as a tensor, ``set.info`` the description."""

    def __init__(self, name: str):
        self.name, self.folder = name, FIXTURES / name
        self.arrays = np.load(self.folder / "golden.npz")
        self.info = json.loads((self.folder / "golden.json").read_text())

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def get(self, key: str) -> torch.Tensor | None:
        return self[key] if key in self.arrays else None

    def close(self, case, quantity: str, got, key: str, allowed: float = 1e-4):
        """Assert that ``got`` equals the array within ``allowed`` of the array's largest absolute value."""
        want = self[key].double()
        got = torch.as_tensor(got).double()
        assert got.shape == want.shape
        self.record(
            case, quantity, ((got - want).abs().max() / want.abs().max().clamp(min=1e-12)).item(), allowed
        )

    def close_grey(self, case, images, key: str):
        """Assert that images ``[N, 3, H, W]`` in [0, 1] equal the array ``[N, H, W, 3]`` within one grey
        level.
        """
        want = self[key]
        want = want.double() * (1 if want.dtype == torch.uint8 else 255)
        got = (images.permute(0, 2, 3, 1).double() * 255).round()
        assert got.shape == want.shape
        self.record(case, "image, grey levels", (got - want.round()).abs().max().item(), 1)

    def record(self, case, quantity: str, difference: float, allowed: float):
        ROWS.append((self.name, str(case), quantity, difference, allowed))
        assert difference <= allowed


@cache
def golden(name: str) -> Golden:
    if not (FIXTURES / name).is_dir():
        pytest.skip("needs ../shared/fixtures (official outputs), which is not part of the repository")
    return Golden(name)


def cases(name: str, section: str) -> list:
    """Parameters for pytest: the entries of a section of ``golden.json``; one skipped if it is missing."""
    file = FIXTURES / name / "golden.json"
    if not file.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="needs ../shared/fixtures"))]
    listed = json.loads(file.read_text())[section]
    entries = (
        listed
        if isinstance(listed, list)
        else [
            {"name": key, **value}
            for key, value in listed.items()
            if isinstance(value, dict) and "pipeline" in value
        ]
    )
    return [pytest.param(entry, id=str(entry.get("index", entry.get("name")))) for entry in entries]


def recipe(folder: Path):
    """The fixture's own formula for weights (``recipe.py`` beside it)."""
    spec = importlib.util.spec_from_file_location("fixture_recipe", folder / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
