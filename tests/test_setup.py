"""rs-course setup: it needs only Python, keeps CUDA away from laptops, and goes on after an interruption."""

import ast
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from rs_course import cli
from rs_course.commands import setup

_ROOT = Path(__file__).resolve().parents[1]

# Requires-Dist of the wheels torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64 on PyPI and torch-2.13.0+cpu
# (shortened to three of each kind).
_CUDA = {
    "requires_dist": [
        "filelock",
        'cuda-bindings<14,>=13.0.3; platform_system == "Linux" and python_version < "3.15"',
        'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"',
    ]
}
_CPU = {"requires_dist": ["filelock", "sympy>=1.13.3", 'optree>=0.13.0; extra == "optree"']}


def test_the_command_line_and_setup_need_only_the_standard_library():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import rs_course.cli, rs_course.commands.setup as setup; setup.gpu_present()"
    )
    bare = [sys.executable, "-I", "-S", "-c", code, str(_ROOT)]
    subprocess.run(bare, check=True, timeout=60)


def test_widgets_are_saved_with_a_notebook_and_other_overrides_stay(tmp_path, capsys):
    path = tmp_path / "share/jupyter/lab/settings/overrides.json"
    setup.keep_widgets(tmp_path)
    own = {"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True}}
    assert json.loads(path.read_text()) == own
    path.write_text('{"a": {"b": 1}, "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": false}}')
    setup.keep_widgets(tmp_path)  # somebody's own choice counts
    own = {"a": {"b": 1}, "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": False}}
    assert json.loads(path.read_text()) == own
    path.write_text("{")
    setup.keep_widgets(tmp_path)
    assert path.read_text() == "{" and "stays as it is" in capsys.readouterr().out


def test_only_linux_wheels_bring_cuda():
    assert setup.brings_cuda(_CUDA, "Linux")
    assert not setup.brings_cuda(_CPU, "Linux")
    assert not setup.brings_cuda(_CUDA, "Darwin")
    assert not setup.brings_cuda({}, "Linux")


@pytest.mark.parametrize(
    ("choice", "gpu", "metadata", "expected"),
    [
        ("auto", False, _CUDA, "cpu index"),
        ("auto", False, _CPU, None),
        ("auto", True, _CUDA, None),
        ("cpu", True, _CUDA, "cpu index"),
        ("default", False, _CUDA, None),
    ],
)
def test_torch_comes_from_the_cpu_index_only_where_cuda_would_come(
    tmp_path, monkeypatch, choice, gpu, metadata, expected
):
    """pip's answer is given; which index follows from it is decided here."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / "constraints.txt").write_text("tornado==1\ntorch==2.13.0\n")

    def pip(python, *arguments, **_):
        report = Path(arguments[arguments.index("--report") + 1])
        assert arguments[-1] == "torch==2.13.0"
        report.write_text(json.dumps({"install": [{"metadata": metadata}]}), encoding="utf-8")

    monkeypatch.setattr(setup, "_pip", pip)
    monkeypatch.setattr(setup, "gpu_present", lambda: gpu)
    monkeypatch.setattr(setup.platform, "system", lambda: "Linux")
    monkeypatch.setenv("RS_COURSE_TORCH_INDEX", "cpu index")
    assert setup.torch_index(Path("python"), tmp_path, choice) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA builds are the default on Linux only")
def test_pip_here_is_really_asked(tmp_path, monkeypatch):
    """The dry run downloads metadata only and agrees with the build that is installed in this environment."""
    monkeypatch.setattr(setup, "gpu_present", lambda: False)
    (tmp_path / ".venv").mkdir()
    (tmp_path / "constraints.txt").write_text(setup.pin(_ROOT, "torch"))
    index = setup.torch_index(Path(sys.executable), tmp_path, "auto")
    report = json.loads((tmp_path / ".venv" / "torch-report.json").read_text())
    assert report["install"][0]["metadata"]["name"] == "torch"
    assert index == (
        setup.CPU_INDEX if setup.brings_cuda(report["install"][0]["metadata"], "Linux") else None
    )


def _checkout(folder: Path) -> Path:
    """A checkout of a package without requirements, so that installing it takes seconds."""
    folder.mkdir()
    (folder / "constraints.txt").write_text("torch==2.13.0\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "tiny"\nversion = "1"\n'
        "[project.optional-dependencies]\ncourse = []\nscale = []\ntest = []\n"
    )
    (folder / "tiny").mkdir()
    (folder / "tiny" / "__init__.py").write_text("")
    return folder


@pytest.mark.slow
def test_set_up_twice_and_after_an_interruption(tmp_path, monkeypatch, capsys):
    root = _checkout(tmp_path / "my course")
    monkeypatch.chdir(root)
    assert cli.main(["setup", "--torch", "default"]) == 0
    python = setup._python(root / ".venv")
    subprocess.run([python, "-c", "import tiny"], check=True)
    capsys.readouterr()
    assert cli.main(["setup", "--torch", "default"]) == 0
    assert capsys.readouterr().out == "setup: .venv is up to date\n"
    # What is asked for besides stays asked for, and is not installed twice.
    assert cli.main(["setup", "--torch", "default", "--with", "book"]) == 0
    assert cli.main(["setup", "--torch", "default", "--with", "test"]) == 0
    assert setup._read_stamp(root / ".venv")["extras"] == ["book", "course", "scale", "test"]
    capsys.readouterr()
    assert cli.main(["setup", "--torch", "default", "--with", "book"]) == 0
    assert capsys.readouterr().out == "setup: .venv is up to date\n"
    # An interrupted set-up leaves no stamp; the environment is kept and finished.
    (root / ".venv" / setup._STAMP).unlink()
    (root / ".venv" / "kept").touch()
    assert cli.main(["setup", "--torch", "default"]) == 0
    assert (root / ".venv" / "kept").exists()
    # A changed pin installs again, a broken environment is made anew.
    (root / "constraints.txt").write_text("torch==2.13.0\nnumpy==2.4.6\n")
    assert setup._read_stamp(root / ".venv") != setup.stamp(root, "default", ["course", "scale"])
    python.unlink()
    setup.create(root / ".venv")
    assert setup._works(root / ".venv")
    assert not (root / ".venv" / "kept").exists()


def test_a_python_that_keeps_nothing_finds_everything_compiled(tmp_path, capfd):
    venv.EnvBuilder().create(tmp_path / ".venv")
    python = setup._python(tmp_path / ".venv")
    place = next((tmp_path / ".venv").rglob("site-packages"))
    (place / "some").mkdir()
    (place / "some" / "module.py").write_text("x = 1\n")
    (place / "some" / "template.py").write_text("x = {{ x }\n")
    setup.compile_once(python)
    assert [path.name.split(".")[0] for path in (place / "some").rglob("*.pyc")] == ["module"]
    assert "SyntaxError" not in "".join(capfd.readouterr())


def test_a_cell_finds_the_commands_of_the_environment(tmp_path):
    kernels = tmp_path / ".venv" / "share" / "jupyter" / "kernels"
    (kernels / "python3").mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernels / "python3" / "kernel.json").write_text(json.dumps(spec))
    commands = setup._python(tmp_path / ".venv").parent
    commands.mkdir()
    (commands / "only-here").write_text("")
    (commands / "only-here").chmod(0o755)
    setup.find_commands(tmp_path / ".venv")
    setup.find_commands(tmp_path / ".venv")  # as the next set-up does

    manager = KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import shutil; shutil.which('only-here'), shutil.which('ls')")]
    )
    kernel = KernelManager(kernel_name="python3", kernel_spec_manager=manager)
    NotebookClient(notebook, km=kernel).execute()
    found, other = ast.literal_eval(notebook.cells[0].outputs[0]["data"]["text/plain"])
    assert found == str(commands / "only-here") and other == shutil.which("ls")
    setup.find_commands(tmp_path)  # an environment without Jupyter stays as it is


_LISTING = """:env:.cert='/etc/ca.crt'
:env:.find-links='/wheels'
:env:.config-file='/etc/pip.conf'
global.find-links='/others'
global.extra-index-url='file:///one/simple https://two.example/simple'
global.timeout='60'
download.no-binary=':all:'
"""


def test_uv_gets_the_settings_of_pip(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    known = setup.uv_settings(_LISTING)
    assert " ".join(known).endswith(
        "--no-cache --find-links /wheels --index file:///one/simple --index https://two.example/simple"
    )
    assert os.environ.pop("SSL_CERT_FILE") == "/etc/ca.crt"
    assert setup.uv_settings("global.no-index='1'\n")[-1] == "--no-index"
    assert "--no-index" not in setup.uv_settings("global.no-index='false'\n")
    # What uv has no word for is left to pip.
    assert setup.uv_settings(_LISTING + "install.no-binary=':all:'\n") is None


def test_kind_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["setup"]) == 1
    assert "run setup in the root of a checkout" in capsys.readouterr().err
    monkeypatch.chdir(_checkout(tmp_path / "course"))
    monkeypatch.setattr(setup.sys, "version_info", (3, 9))
    assert cli.main(["setup"]) == 1
    assert "the course needs Python 3.11 or newer" in capsys.readouterr().err
