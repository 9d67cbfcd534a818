"""The built wheel works by itself: in an empty environment it runs a notebook far from the checkout."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def environment():
    """The surroundings of a user's shell: nothing of this environment or checkout leaks in."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RS_COURSE_CACHE", "JUPYTER_PATH")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.mark.slow
def test_an_installed_wheel_runs_a_notebook(tmp_path, environment):
    def call(*command, cwd=tmp_path):
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    environment["RS_COURSE_CACHE"] = str(tmp_path / "cache")
    call(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(_ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "empty env", with_pip=True)
    python = tmp_path / "empty env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Without compiling each file: a third of the time of an installation that is used once.
    constraints = ["-c", str(_ROOT / "constraints.txt"), "--no-compile", "--quiet"]
    call(python, "-m", "pip", "install", *constraints, f"{wheel}[course]")

    where = call(python, "-c", "import rs_course; print(rs_course.__file__)").strip()
    assert Path(where).is_relative_to(tmp_path / "empty env")
    installed = call(python, "-m", "pip", "list", "--format", "json")
    names = {package["name"].lower() for package in json.loads(installed)}
    assert not {"torchvision", "pytest", "dask"} & names

    program = python.with_name("rs-course")
    told = call(program, "start", str(tmp_path / "my course"))
    assert "jupyter lab" in told
    folder = tmp_path / "my course"
    assert (folder / "assignments" / "release" / "a3_super_resolution").is_dir()
    out = call(program, "run", "00", cwd=folder)
    assert "[1/1] 00_orientation: ok" in out
    assert (folder / "build" / "notebooks" / "00_orientation.html").stat().st_size > 100_000
