"""Where bubblewrap is missing, a container of podman or docker grades the same, and contains the same."""

import pytest

from rs_course.grading import batch, isolation, records, sandbox
from rs_course.grading.intake import Submission

from .conftest import ANSWERS, FULL, as_bytes, notebook
from .hostile import ATTACKS

TRIED = (
    "imports_scikit_learn",
    "socket",
    "fork",
    "locks_a_shared_file",
    "thread_bomb",
    "disk_bomb",
    "long_loop_without_signals",
    "kill_itself",
    "input_in_exit_status",
)


@pytest.fixture(scope="module")
def graded(tiny, tmp_path_factory):
    if reason := isolation.container_engine()[1]:
        pytest.skip(f"needs containers: {reason}")
    plan = batch.Plan(tiny, tmp_path_factory.mktemp("class"), isolation=sandbox.CONTAINER)
    made = [Submission("honest", as_bytes(notebook(ANSWERS)))]
    made += [Submission(name, as_bytes(ATTACKS[name][0])) for name in TRIED]
    return {record["student"]: record for record in batch.run(plan, made, workers=2)}


def test_an_honest_student_gets_full_marks_and_the_record_says_how(graded):
    record = graded["honest"]
    assert records.score(record) == FULL
    assert record["isolation"] == "container"
    assert record["versions"]["container"] in ("podman", "docker")


@pytest.mark.parametrize("name", TRIED)
def test_attack_is_contained(graded, name):
    _, points, words = ATTACKS[name]
    record = graded[name]
    assert (record["status"], records.score(record)) == ("graded", points)
    said = [q["message"] for q in record["questions"]]
    said += [check["message"] for q in record["questions"] for check in q["checks"]]
    assert any(word in "\n".join(said) for word in words.split("|"))


def test_without_an_engine_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    isolation.container_engine.cache_clear()
    with pytest.raises(RuntimeError, match="neither podman nor docker is installed"):
        sandbox.require("container")
    isolation.container_engine.cache_clear()


def test_an_engine_that_does_not_work_is_named(tmp_path, monkeypatch):
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    isolation.container_engine.cache_clear()
    with pytest.raises(RuntimeError, match="docker fails with “Cannot connect to the Docker daemon”"):
        sandbox.require("container")
    isolation.container_engine.cache_clear()
