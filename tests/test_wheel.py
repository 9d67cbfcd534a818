"""The built wheel works by itself: in an empty environment it runs a notebook far from the checkout."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from rs_course.commands import setup

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
    # By uv where the set-up left one: seconds instead of minutes. Else by pip, without compiling each file.
    uv = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    settings = setup.uv_settings(call(python, "-m", "pip", "config", "list"))
    if "SSL_CERT_FILE" in os.environ:
        environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
    if uv.exists() and settings is not None:
        install = [uv, "pip", "install", "--python", python, *settings]
    else:
        install = [python, "-m", "pip", "install", "--no-compile"]
    call(*install, "--quiet", "-c", str(_ROOT / "constraints.txt"), f"{wheel}[course]")

    where = call(python, "-c", "import rs_course; print(rs_course.__file__)").strip()
    assert Path(where).is_relative_to(tmp_path / "empty env")
    installed = call(python, "-m", "pip", "list", "--format", "json")
    names = {package["name"].lower() for package in json.loads(installed)}
    assert not {"torchvision", "pytest", "dask"} & names

    program = python.with_name("rs-course")
    told = call(program, "start", str(tmp_path / "my course"))
    assert re.search(r'jupyter"? lab notebooks/', told)
    folder = tmp_path / "my course"
    assert (folder / "assignments" / "release" / "a3_super_resolution").is_dir()
    out = call(program, "run", "00", cwd=folder)
    assert re.search(r"\[1/1\] 00_\w+: ok", out)
    assert next((folder / "build" / "notebooks").glob("00_*.html")).stat().st_size > 100_000
