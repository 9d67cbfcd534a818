"""Running: in process and on workers alike, resumable after any death, errors that do not stop the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from rs_course import study
from rs_course.cli import main
from rs_course.study import plan

_ROOT = Path(__file__).resolve().parents[2]


def _plan(log=None, *, count=6, **settings):
    block = {"x": list(range(count)), "seed": [0, 1], **({"log": str(log)} if log else {}), **settings}
    return plan.from_dict({"function": "tests.study.cheap:square", "grid": [block]})


def _same(a, b):
    a, b = (frame.drop(columns="wall_seconds") for frame in (a, b))
    return a.astype(str).equals(b.astype(str))


def _lines(log):
    return (
        [line.split() for line in Path(log).read_text(encoding="utf-8").splitlines()]
        if Path(log).exists()
        else []
    )


def test_a_second_run_does_nothing_and_a_missing_record_is_made_again(tmp_path):
    log = tmp_path / "log"
    said = []
    first = study.run(_plan(log), tmp_path / "out", progress=said.append)
    assert len(first) == 12 == len(_lines(log)) == len(said)
    assert first["accuracy"].tolist() == [x * x / 100 for x in range(6) for _ in range(2)]
    assert {"id", "code", "data", "checkpoint", "wall_seconds"} <= set(first.columns)
    assert first["correct"][4] == bytes([2])
    assert first["predictions"][5].tolist() == [2, 1]
    study.run(_plan(log), tmp_path / "out")
    assert len(_lines(log)) == 12
    (tmp_path / "out" / "records" / f"{first['id'][3]}.json").unlink()
    again = study.run(_plan(log), tmp_path / "out")
    assert len(_lines(log)) == 13
    assert _same(first, again)


def test_one_and_two_workers_give_the_rows_of_one_process(tmp_path):
    here = study.run(_plan(), tmp_path / "here")
    one = study.run(_plan(), tmp_path / "one", workers=1)
    two = study.run(_plan(), tmp_path / "two", workers=2)
    assert _same(here, one)
    assert _same(here, two)


def test_a_task_that_fails_is_told_and_tried_again(tmp_path):
    missing = tmp_path / "needed"
    content = {"function": "tests.study.cheap:square"}
    content["grid"] = [{"x": [1, 2], "seed": 0}, {"x": 3, "seed": 0, "fail_unless": str(missing)}]
    with pytest.raises(RuntimeError, match=r"1 of 3 tasks failed.*ValueError: the file is missing\."):
        study.run(plan.from_dict(content), tmp_path / "out")
    assert len(study.ledger(tmp_path / "out")) == 2
    missing.touch()
    assert len(study.run(plan.from_dict(content), tmp_path / "out")) == 3


def test_a_function_that_returns_no_row_is_named(tmp_path):
    bad = plan.from_dict({"function": "tests.study.cheap:no_dict", "grid": [{"x": 1}]})
    with pytest.raises(RuntimeError, match="returned no dict"):
        study.run(bad, tmp_path)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(RuntimeError, match="another run is at work"):
        study.run(_plan(), tmp_path)


def test_a_ledger_that_is_not_there_leads_to_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="rs-course study CONFIG"):
        study.ledger(tmp_path)


def _start(tmp_path, log, *options):
    """A real ``rs-course study`` with slow tasks, in a process of its own."""
    block = {"x": list(range(8)), "seed": 0, "wait": 0.5, "log": str(log)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in block.items()]
    config = tmp_path / "slow.toml"
    config.write_text(
        "\n".join(['function = "tests.study.cheap:square"', "[[grid]]", *lines]), encoding="utf-8"
    )
    command = [
        sys.executable,
        "-m",
        "rs_course.cli",
        "study",
        str(config),
        "--out",
        str(tmp_path / "out"),
        *options,
    ]
    return subprocess.Popen(
        command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["in process", "two workers"])
def test_after_kill_9_of_the_parent_the_same_command_goes_on(tmp_path, options):
    log, kept = tmp_path / "log", tmp_path / "out" / "records"
    process = _start(tmp_path, log, *options)
    _wait_for(lambda: len(list(kept.glob("[!.]*.json"))) >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {json.loads(path.read_text())["x"] for path in kept.glob("[!.]*.json")}
    assert 3 <= len(done) < 8
    before = len(_lines(log))
    _wait_for(lambda: not _alive({int(pid) for _, pid in _lines(log)}))  # workers die with their parent
    process = _start(tmp_path, log)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"{len(done)} of 8 tasks are done already" in output
    assert {int(x) for x, _ in _lines(log)[before:]} == set(range(8)) - done
    assert study.ledger(tmp_path / "out")["x"].tolist() == list(range(8))


def _alive(pids):
    return {pid for pid in pids if Path(f"/proc/{pid}").exists() and "zombie" not in _state(pid)}


def _state(pid):
    try:
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return "zombie"


@pytest.mark.slow
def test_kill_9_of_a_worker_costs_its_task_in_flight_and_no_result(tmp_path):
    log = tmp_path / "log"
    process = _start(tmp_path, log, "--workers", "2")
    _wait_for(lambda: len(_lines(log)) >= 3)
    victim = int(_lines(log)[-1][1])
    assert victim != process.pid
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert study.ledger(tmp_path / "out")["x"].tolist() == list(range(8))
    assert len(_lines(log)) in (8, 9, 10)


@pytest.mark.slow
def test_a_cluster_takes_the_tasks(tmp_path):
    from distributed import LocalCluster

    with LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        rows = study.run(_plan(count=3), tmp_path, scheduler=cluster.scheduler_address)
    assert len(rows) == 6


def test_a_cluster_that_does_not_answer_is_an_error_within_seconds(tmp_path, capsys):
    config = tmp_path / "one.toml"
    config.write_text('function = "tests.study.cheap:square"\n[[grid]]\nx = 1\nseed = 0\n', encoding="utf-8")
    start = time.monotonic()
    address = "tcp://127.0.0.1:9"
    assert main(["study", str(config), "--out", str(tmp_path / "out"), "--scheduler", address]) == 1
    assert time.monotonic() - start < 20
    error = capsys.readouterr().err
    assert f"no Dask scheduler answers at {address} within 5 s" in error
    assert "Traceback" not in error


def test_workers_and_a_scheduler_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="not both"):
        study.run(_plan(), tmp_path, workers=2, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ValueError, match="workers=-1"):
        study.run(_plan(), tmp_path, workers=-1)
