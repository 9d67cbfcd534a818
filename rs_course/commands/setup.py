"""``rs-course setup``: create ``.venv`` with the pinned environment; it needs only Python.

    python3 -m rs_course.cli setup      from the root of a checkout, before anything is installed
    rs-course setup --with test         later; also what contributors need
    rs-course setup --torch default     the build of torch that pip chooses

Only the standard library is imported here, and nothing is installed outside ``.venv``. What differs between
machines is torch: on Linux the build that pip chooses by itself may bring gigabytes of CUDA, so without an
NVIDIA GPU it is taken from PyTorch's index of CPU builds (``RS_COURSE_TORCH_INDEX`` names another one).
The rest is installed by uv, which takes seconds where pip takes minutes, with pip's own settings; where uv
cannot be had or does not know a setting, pip does it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
EXTRAS = ("course", "scale")
ON_REQUEST = ("book", "nbgrader", "test")
_STAMP = "rs-course-setup.json"


def setup_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course setup``."""
    parser.add_argument(
        "--torch", choices=["auto", "cpu", "default"], default="auto",
        help="auto: a CPU build unless a GPU is seen; cpu: always; default: whatever pip chooses",
    )  # fmt: skip
    parser.add_argument(
        "--with", nargs="+", choices=ON_REQUEST, default=[], dest="extras", metavar="EXTRA",
        help=f"also install what these need: {', '.join(ON_REQUEST)}",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="install again although nothing changed")


def setup(args: argparse.Namespace):
    root = Path.cwd()
    if not (root / "constraints.txt").is_file() or not (root / "pyproject.toml").is_file():
        raise FileNotFoundError("run setup in the root of a checkout, where constraints.txt lies.")
    if sys.version_info < (3, 11):  # noqa: UP036 (setup runs before pip can enforce requires-python)
        raise RuntimeError(
            f"the course needs Python 3.11 or newer, this is {platform.python_version()}; "
            "call setup with another one, e.g. python3.11 -m rs_course.cli setup."
        )
    folder = root / ".venv"
    before = _read_stamp(folder) or {}
    installed, asked = before.get("extras", []), sorted({*EXTRAS, *args.extras})
    current = before == stamp(root, args.torch, installed) and _works(folder)
    if not args.force and current and set(asked) <= set(installed):
        keep_widgets(folder)
        find_commands(folder)
        print("setup: .venv is up to date")
        return
    extras = sorted({*asked, *installed}) if current else asked
    # The stamp goes first and comes back last: an interrupted set-up is never taken for a finished one.
    (folder / _STAMP).unlink(missing_ok=True)
    python = create(folder)
    settings = uv_settings(_output(python, "-m", "pip", "config", "list"))
    _pip(python, "install", "--upgrade", "pip", "-c", "constraints.txt")
    uv = None if settings is None else _uv(python, root)
    if (index := torch_index(python, root, args.torch)) is not None:
        print(f"setup: torch from {index} (a CPU build)", flush=True)
        arguments = ["--no-deps", "--index-url", index, pin(root, "torch")]
        _pip(python, "install", *arguments, on_failure=_torch_advice(index))
    everything = ["-e", f".[{','.join(extras)}]", "-c", "constraints.txt"]
    quiet = [] if sys.stdout.isatty() else ["-q"]
    if uv is None or not _call(uv, "pip", "install", *quiet, "--python", python, *settings, *everything):
        _pip(python, "install", *everything)
    if sys.dont_write_bytecode:
        compile_once(python)
    keep_widgets(folder)
    find_commands(folder)
    (folder / _STAMP).write_text(json.dumps(stamp(root, args.torch, extras)), encoding="utf-8")
    print("setup: done; start with `make lab`, or see what this machine has with `rs-course doctor`")


def stamp(root: Path, torch: str, extras: list[str]) -> dict:
    """What an installed environment depends on; it is up to date while this stays the same."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((root / name).read_bytes())
    # The place counts because the installed commands hold it, the GPU because it decides the build of torch.
    return {
        "requirements": digest.hexdigest(),
        "python": platform.python_version(),
        "place": str(root),
        "torch": torch,
        "gpu": gpu_present(),
        "extras": extras,
    }


def create(folder: Path) -> Path:
    """Make the virtual environment unless a working one is there, and return its Python."""
    python = _python(folder)
    if not _works(folder):
        print(f"setup: creating {folder.name}", flush=True)
        try:
            venv.EnvBuilder(with_pip=True, clear=True).create(folder)
        except subprocess.CalledProcessError:
            raise RuntimeError(
                "Python cannot create virtual environments here; on Debian: apt install python3-venv."
            ) from None
    return python


def compile_once(python: Path) -> None:
    """Compile what is installed, for a Python that may not keep what it compiles (PYTHONDONTWRITEBYTECODE).

    It would compile torch and diffusers again at every start of a kernel, which takes longer than to import
    them. Pip compiles what it installs, uv does not.
    """
    print("setup: compiling, because PYTHONDONTWRITEBYTECODE is set", flush=True)
    place = _output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')")
    # Templates and files for other versions of Python cannot be compiled, and nothing imports them.
    _call(python, "-m", "compileall", "-qq", "-j", "0", "-x", r"[/\\]tests[/\\]", place)


def keep_widgets(environment: Path) -> None:
    """Let JupyterLab save sliders and quizzes with a notebook; other overrides in the file stay.

    By default it saves only that there was a widget, and shows "Error displaying widget: model not found" in
    its place when the notebook is opened again.
    """
    path = environment / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    try:
        overrides = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        overrides = {}
    except json.JSONDecodeError:
        print(f"setup: {path} is not JSON and stays as it is; JupyterLab does not save widgets", flush=True)
        return
    overrides.setdefault("@jupyter-widgets/jupyterlab-manager:plugin", {}).setdefault("saveState", True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(overrides, indent=2) + "\n", encoding="utf-8")


def find_commands(environment: Path) -> None:
    """Let a cell find the environment's commands, ``!rs-course doctor``, however JupyterLab was started."""
    path = environment / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    if path.is_file():  # ipykernel's own; Jupyter fills in ${PATH}
        spec = json.loads(path.read_text(encoding="utf-8"))
        commands = _python(environment).parent.absolute()
        spec["env"] = {**spec.get("env", {}), "PATH": f"{commands}{os.pathsep}${{PATH}}"}
        path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")


def gpu_present() -> bool:
    """Whether the system shows an NVIDIA GPU (asked without torch, which is not installed yet)."""
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return True
    if (tool := shutil.which("nvidia-smi")) is None:
        return False
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU" in listing.stdout


def torch_index(python: Path, root: Path, choice: str) -> str | None:
    """Index to take torch from, or ``None`` where pip's own choice is right.

    Args:
        python: Python of the environment, whose pip is asked.
        root: Checkout with ``constraints.txt``.
        choice: ``"auto"``, ``"cpu"`` or ``"default"``.
    """
    index = os.environ.get("RS_COURSE_TORCH_INDEX", CPU_INDEX)
    if choice == "default" or (choice == "auto" and gpu_present()):
        return None
    report = root / ".venv" / "torch-report.json"
    asking = ["--dry-run", "--quiet", "--no-deps", "--ignore-installed", "--report", report]
    _pip(python, "install", *asking, pin(root, "torch"))
    chosen = json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]
    return index if brings_cuda(chosen, platform.system()) else None


def brings_cuda(metadata: dict, system: str) -> bool:
    """Whether a build of torch with this metadata (as in pip's report) installs CUDA libraries.

    The wheels for Linux name them as requirements; those for Windows and macOS are CPU builds but carry the
    same list, with markers that rule it out.
    """
    if system != "Linux":
        return False
    return any(re.match(r"(nvidia|cuda)-", line) for line in metadata.get("requires_dist", []))


def pins(constraints: Path) -> dict[str, str]:
    """Exact versions in a constraints file, by distribution name."""
    lines = constraints.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def pin(root: Path, name: str) -> str | None:
    """The pinned requirement of a package, e.g. ``torch==2.13.0``."""
    version = pins(root / "constraints.txt").get(name)
    return version and f"{name}=={version}"


# A setting of pip: what uv calls it. Those of _NO_MATTER concern how pip works and what it prints.
_UV_WORDS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
    "constraint": "--constraints",
}
_NO_MATTER = {
    "cache-dir",
    "config-file",
    "default-timeout",
    "disable-pip-version-check",
    "no-cache-dir",
    "no-color",
}
_NO_MATTER |= {"no-input", "progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action"}
_NO_MATTER |= {"timeout", "verbose"}


def uv_settings(listing: str) -> list[str] | None:
    """Pip's settings as arguments of uv, or ``None`` where one has no counterpart and pip has to do the work.

    Args:
        listing: What ``pip config list`` prints, e.g. ``global.find-links='/wheels'``.
    """
    # Of all indexes the best version, as pip takes it; nothing is kept outside .venv.
    arguments = ["--index-strategy", "unsafe-best-match", "--no-cache"]
    found = {}
    for section in ("global", "install", ":env:"):  # a later one overrides
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", listing, re.M):
            found[name] = ast.literal_eval(value).split()
    for name, values in found.items():
        if name == "no-index":
            arguments += ["--no-index"] if values[0].lower() in ("1", "true", "yes", "on") else []
        elif name in _UV_WORDS:
            arguments += [word for value in values for word in (_UV_WORDS[name], value)]
        elif name == "cert":
            os.environ.setdefault("SSL_CERT_FILE", values[0])  # uv has no argument for it
        elif name not in _NO_MATTER:
            return None
    return arguments


def _uv(python: Path, root: Path) -> Path | None:
    """The environment's uv, or ``None`` where the course pins none or the index has none."""
    wanted = pin(root, "uv")
    if wanted is None or not _call(python, "-m", "pip", "install", "-qq", wanted):
        print("setup: without uv, pip takes some minutes", flush=True)
        return None
    return python.with_name("uv.exe" if os.name == "nt" else "uv")


def _torch_advice(index: str) -> str:
    return (
        f"torch could not be installed from {index}; set RS_COURSE_TORCH_INDEX to a mirror of PyTorch's CPU "
        "index, or add --torch default to take the larger build that pip chooses."
    )


def _pip(python: Path, *arguments, on_failure: str | None = None) -> None:
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    if not _call(python, "-m", "pip", *arguments[:1], "--disable-pip-version-check", *quiet, *arguments[1:]):
        raise RuntimeError(
            on_failure or "pip stopped (its message is above); run the same command again to go on."
        )


def _call(*command) -> bool:
    """Run a program; whether it succeeded."""
    return not subprocess.run(command, env=_surroundings(), check=False).returncode


def _output(*command) -> str:
    done = subprocess.run(command, env=_surroundings(), capture_output=True, text=True, check=False)
    return done.stdout


def _surroundings() -> dict[str, str]:
    """Packages of the user's home or an active environment must not leak into the course's."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _works(folder: Path) -> bool:
    python = _python(folder)
    if not python.exists():
        return False
    answer = _output(python, "-c", "import sys, pip; print(*sys.version_info[:2])")
    return answer.split() == [str(part) for part in sys.version_info[:2]]


def _read_stamp(folder: Path) -> dict | None:
    try:
        return json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
