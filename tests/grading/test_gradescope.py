"""The autograder zip in a bare root with Gradescope's documented layout: root grades, nobody answers."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from assignments.conftest import FINISHED, assignment, changed_solution, source

from rs_course.cli import main
from rs_course.grading import gradescope, release

from .conftest import ANSWERS, FULL, PROSE, as_bytes, notebook
from .test_commands import course  # noqa: F401  (a fixture)


@pytest.fixture
def built(course):  # noqa: F811
    assert main(["release", "tiny", "--gradescope", "out"]) == 0
    return course / "out" / "tiny.zip"


def test_the_zip_has_the_documented_form(built):
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        assert {"setup.sh", "run_autograder", "requirements.txt", "grader/zygote.py"} <= set(names)
        assert archive.getinfo("run_autograder").external_attr >> 16 & 0o111
        assert archive.read("run_autograder").startswith(b"#!") and archive.read("setup.sh").startswith(b"#!")
        assert not [name for name in names if "__pycache__" in name or name.startswith(("/", "tests"))]
        pins = archive.read("requirements.txt").decode().splitlines()
        settings = json.loads(archive.read("assignment/settings.json"))
        for script in ("setup.sh", "run_autograder"):
            subprocess.run(["bash", "-n"], input=archive.read(script), check=True)
    assert all(pin.count("==") == 1 and "+" not in pin for pin in pins)
    assert {"numpy", "torch", "IPython"} <= {pin.partition("==")[0] for pin in pins}
    seed = (built.parents[1] / "grades" / "secret_seed.txt").read_text().strip()
    assert settings == {"name": "tiny", "exam": "assignment/exam.py", "seed": seed}
    assert built.stat().st_mode & 0o077 == 0
    first = built.read_bytes()
    assert main(["release", "tiny", "--gradescope", "out"]) == 0 and built.read_bytes() == first


@pytest.fixture
def container(built, tmp_path):
    return _container(built, tmp_path)


def _container(built, tmp_path):
    """Runs a submission as Gradescope does, in a root folder that holds system libraries and Python only."""
    if os.geteuid() != 0 or shutil.which("bwrap") is None:
        pytest.skip("needs root and bubblewrap, to become another user in a root folder of its own")
    if sys.prefix == sys.base_prefix:
        pytest.skip("needs a virtual environment, to stand where setup.sh makes one")
    root = tmp_path / "autograder"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(root / "source")
    shutil.copy(root / "source" / "run_autograder", root / "run_autograder")
    (root / "run_autograder").chmod(0o755)
    (root / "submission_metadata.json").write_text('{"users": [{"email": "a@x"}]}')
    setup = (root / "source" / "setup.sh").read_text()
    # Packages are here already; the rest of the script runs as it is.
    # bubblewrap makes folders above what it binds for root alone, unlike any image.
    above = " ".join(map(str, (*Path(sys.base_prefix).parents[:-1], "/opt")))
    script = (
        f"chmod 755 {above} 2>/dev/null || true\nchmod 1777 /tmp /dev/shm\nset -eu; cd /autograder/source\n"
        + setup[setup.index("# What runs beside") :]
    )
    script += "\ncd /autograder; /autograder/run_autograder > /autograder/results/stdout 2>&1"
    command = ["bwrap", "--cap-add", "ALL", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--clearenv"]
    command += ["--setenv", "PATH", "/usr/bin:/bin", "--ro-bind", "/usr", "/usr"]
    for path in ("/bin", "/lib", "/lib64"):
        kind = ("--symlink", os.readlink(path)) if os.path.islink(path) else ("--ro-bind", path)
        command += [*kind, path]
    command += ["--ro-bind", sys.base_prefix, sys.base_prefix, "--ro-bind", sys.prefix, "/opt/rs-course"]
    command += ["--proc", "/proc", "--dev", "/dev", "--bind", str(root), "/autograder"]
    # As in an image: one folder of a disk that is full of others' files.
    (tmp_path / "tmp").mkdir()
    command += ["--bind", str(tmp_path / "tmp"), "/tmp"]

    def run(**files):
        for folder in ("submission", "results"):
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir()
        for name, data in files.items():
            (root / "submission" / name.replace("__", ".")).write_bytes(data)
        done = subprocess.run([*command, "bash", "-c", script], capture_output=True, text=True, timeout=600)
        log = root / "results" / "stdout"
        said = done.stderr + (log.read_text() if log.exists() else "")
        made = root / "results" / "results.json"
        return json.loads(made.read_text()) if made.exists() else None, said

    return run


SPY = """def spy():
    import os, socket, ctypes
    doors = []

    def attempt(name, action):
        try:
            action()
            doors.append(name)
        except BaseException:
            pass

    for path in ("/autograder/source/assignment/settings.json", "/autograder/submission_metadata.json",
                 "/autograder/source/rs_course/grading/exam.py", "/proc/1/environ", "/proc/1/mem",
                 f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/mem", "/etc/shadow"):
        attempt(path, lambda: open(path, "rb").read(1))
    for folder in ("/autograder", "/autograder/source", "/autograder/submission", "/autograder/results"):
        attempt(folder, lambda: os.listdir(folder))
    for path in ("/autograder/results/results.json", "/grader/runner.py", "/opt/rs-course/pyvenv.cfg"):
        attempt("write " + path, lambda: open(path, "a"))
    attempt("fork", lambda: os.fork() and None)
    attempt("socket", lambda: socket.socket())
    attempt("kill", lambda: os.kill(os.getppid(), 9))
    attempt("root", lambda: os.setuid(0))
    attempt("import", lambda: __import__("rs_course.grading.exam"))
    if doors or os.getuid() != 65534 or os.getgroups():
        raise SystemError(str(doors))


"""


def _scores(made):
    return {test["name"]: (test["score"], test["max_score"], test["visibility"]) for test in made["tests"]}


@pytest.mark.slow
def test_graded_as_documented(container):
    made, said = container(tiny__ipynb=as_bytes(notebook(ANSWERS, PROSE)))
    assert made is not None, said
    assert _scores(made) == {
        "double.example": (1, 1, "visible"),
        "double: hidden checks": (2, 2, "after_published"),
        "spread: hidden checks": (3, 3, "after_published"),
        "predict: hidden checks": (2, 2, "after_published"),
    }
    assert sum(test["score"] for test in made["tests"]) == FULL and "leaderboard" not in made
    assert made["stdout_visibility"] == "hidden" and "Marked by hand: essay" in made["output"]
    assert made["extra_data"]["isolation"] == "another user"


@pytest.mark.slow
def test_code_has_no_privileges_and_sees_no_hidden_value(container):
    """On a solved answer: a door that opens raises, and costs the points."""
    double = SPY + "def double(x):\n    spy()\n    return 2 * x"
    made, said = container(tiny__ipynb=as_bytes(notebook({**ANSWERS, "double": double}, PROSE)))
    assert made is not None, said
    assert sum(test["score"] for test in made["tests"]) == FULL, made


@pytest.mark.slow
def test_an_endless_loop_and_no_notebook_get_a_result(container):
    made, said = container(tiny__ipynb=as_bytes(notebook({**ANSWERS, "spread": "while True: pass"})))
    assert made is not None, said
    assert sum(test["score"] for test in made["tests"]) == FULL - 3
    made, said = container(essay__docx=b"PK")
    assert sum(test["score"] for test in made["tests"]) == 0 and "no notebook was handed in" in made["output"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FINISHED)
def test_the_courses_own_assignments(name, tmp_path):
    """The model answers, which look for a way out on their way, earn all points; the handout earns none."""
    handout = tmp_path / f"{name}.ipynb"
    handout.write_text(json.dumps(release.release(source(name))))
    built = gradescope.build(tmp_path / "out.zip", name, handout, name, "a seed for tests", "https://x")
    container = _container(built, tmp_path)
    first = next(iter(assignment(name).exam.questions))
    solved = changed_solution(name, first, lambda text: f"{SPY}spy()\n{text}")
    made, said = container(**{f"{name}__ipynb": solved})
    assert made is not None, said
    assert [test for test in made["tests"] if test["score"] != test["max_score"]] == [], said
    assert sum(test["max_score"] for test in made["tests"]) == sum(
        check.points for check in assignment(name).exam.checks
    )
    made, said = container(**{f"{name}__ipynb": handout.read_bytes()})
    assert made is not None, said
    assert sum(test["score"] for test in made["tests"]) == 0 and made["output"]


def test_which_file_is_graded(tmp_path):
    def find(**files):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        for name, data in files.items():
            (tmp_path / name.replace("__", ".")).write_bytes(data)
        return gradescope.find(tmp_path, "tiny")

    assert find(mine__ipynb=b"1") == b"1" == find(tiny__ipynb=b"1", notes__ipynb=b"2")
    assert find(tiny__ipynb__json=b"1", more__ipynb__txt=b"2", data__json=b"3") == b"1"
    assert "2 notebooks" in str(find(a__ipynb=b"1", b__ipynb=b"2"))
    assert "no notebook" in str(find()) and "no notebook" in str(find(a__txt=b"1"))
    assert "cannot be opened" in str(find(a__zip=b"1"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("tiny.ipynb", b"3")
    (tmp_path / "a.zip").unlink()
    assert gradescope.find(tmp_path, "tiny") == b"3"


def test_links_in_a_submission_are_not_followed(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "tiny.ipynb").write_text("the seed")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "tiny.ipynb").symlink_to(tmp_path / "secret" / "tiny.ipynb")
    (inbox / "folder").symlink_to(tmp_path / "secret")
    assert "no notebook" in str(gradescope.find(inbox, "tiny"))


def test_the_zip_needs_a_named_exam(course, capsys):  # noqa: F811
    assert main(["release", "other", "--gradescope", "out"]) == 1
    assert "There is no assignment 'other'" in capsys.readouterr().err
    assert not Path("out").exists()
