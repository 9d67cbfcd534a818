"""The public names have types, and a checker agrees with them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_TYPED = [
    path
    for room in ("checkpoints", "classification", "datasets", "diffusion", "generation", "study", "superres")
    for path in (_ROOT / "rs_course" / room).glob("*.py")
]
_TYPED += [_ROOT / "rs_course" / f"{name}.py" for name in ("fetching", "files", "jobs", "paths", "registry")]

RIGHT = """
import rs_course
from rs_course import checkpoints, datasets, generation, metrics, simulated_earth
from rs_course.datasets import Dataset

data: Dataset = datasets.load("simulated", "train", size=10, seed=0)
prompt: str = datasets.class_prompt("River", dataset="eurosat")
checkpoint = checkpoints.load("mini-diffusionsat", device="cpu", dtype="float32", controlnet=["a", "b"])
images = checkpoint.sample([prompt], metadata={"lon": 8.4}, steps=3, guidance=1.0, size=(64, 64), seed=1)
numbers = checkpoints.normalize_metadata(lon=8.4, lat=49.0, month=7)
made: Dataset = generation.generate([prompt], checkpoint="mini-text2earth", out="x", per_prompt=2, steps=3)
scene = simulated_earth.scene("River", 7, gsd=10.0)
metrics.psnr(images, images, channel="y", crop=4)
metrics.fid(images, images)
rs_course.alignment.load
"""
WRONG = {
    'datasets.load("simulated", splt="train")': 'Unexpected keyword argument "splt"',
    "datasets.load(7)": "incompatible type",
    'checkpoints.load("a").sample("b", steps="three")': "incompatible type",
    "checkpoints.load(0.5)": "incompatible type",
    "generation.generate()": "Missing named argument",
    "metrics.psnrr": 'has no attribute "psnrr"',
}


def _mypy(*arguments: str) -> str:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False).stdout


def test_the_checker_finds_nothing_in_the_typed_rooms():
    found = [line for line in _mypy().splitlines() if ": note:" not in line]
    assert found == []


def test_the_checker_knows_the_public_names_and_their_arguments(tmp_path):
    (tmp_path / "right.py").write_text(RIGHT, encoding="utf-8")
    lines = [*RIGHT.splitlines()[:4], *WRONG]
    (tmp_path / "wrong.py").write_text("\n".join(lines), encoding="utf-8")
    told = _mypy(str(tmp_path / "right.py"), str(tmp_path / "wrong.py")).splitlines()
    assert [line for line in told if "right.py" in line and "error" in line] == []
    for number, (call, expected) in enumerate(WRONG.items(), len(lines) - len(WRONG) + 1):
        assert any(f"wrong.py:{number}: error:" in line and expected in line for line in told), (call, told)


@pytest.mark.parametrize("path", _TYPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_public_functions_have_types_and_docstrings(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        untyped = [one.arg for one in (*node.args.args, *node.args.kwonlyargs) if one.annotation is None]
        assert not untyped and node.returns is not None, (
            f"{node.name} has no types for {untyped or 'its result'}"
        )
        assert ast.get_docstring(node), f"{node.name} has no docstring"
