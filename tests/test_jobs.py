"""One runner of independent jobs: the same answers from this process, local workers and a cluster."""

import os
import sys
import threading

import pytest

from rs_course import jobs


def halved(number: int) -> tuple[int, str]:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2, os.environ.get("OMP_NUM_THREADS", "")


def dying(file, number: int) -> int:
    """Takes its worker with it, once."""
    if number == 1 and not os.path.exists(file):
        open(file, "w", encoding="utf-8").close()
        os._exit(9)
    return number


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Workers import this module by its name."""
    old = os.environ.get("PYTHONPATH", "")
    with jobs.environment({"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), old])}):
        yield


def answers(run) -> dict:
    found = {}
    for key, value, error in run.each(halved, {name: (name,) for name in range(6)}):
        found[key] = str(error) if error else value[0]
    return found


EXPECTED = {0: 0, 1: "1 is odd", 2: 1, 3: "3 is odd", 4: 2, 5: "5 is odd"}


def test_in_this_process():
    with jobs.runner() as run:
        assert answers(run) == EXPECTED and run.call(halved, 8)[0] == 4
        with pytest.raises(ValueError, match="7 is odd"):
            run.call(halved, 7)


def test_on_local_workers_of_one_thread_and_one_of_them_dies(tmp_path):
    pytest.importorskip("distributed")
    with jobs.runner(workers=2) as run:
        assert answers(run) == EXPECTED
        assert run.call(halved, 8) == (4, "1")
        found = {
            key: value for key, value, _ in run.each(dying, {k: (str(tmp_path / "x"), k) for k in range(3)})
        }
        assert found == {0: 0, 1: 1, 2: 2}


def test_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        jobs.runner(scheduler=cluster.scheduler_address) as run,
    ):
        assert answers(run) == EXPECTED


def test_workers_with_another_version(monkeypatch):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "processes": False, "dashboard_address": None}
    ours = threading.main_thread().ident  # where this test runs, and no job
    monkeypatch.setattr(jobs, "sources", lambda: threading.get_ident() == ours)
    with (
        distributed.LocalCluster(**options) as cluster,
        pytest.raises(RuntimeError, match="have another version of rs_course: install the same one"),
        jobs.runner(scheduler=cluster.scheduler_address),
    ):
        pass


def test_a_scheduler_that_does_not_answer(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", 1)
    with (
        pytest.raises(RuntimeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 1 s"),
        jobs.runner(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


def test_impossible_places():
    for workers, scheduler, message in ((-1, None, "give 0 to run"), (2, "tcp://x:1", "not both")):
        with pytest.raises(ValueError, match=message), jobs.runner(workers, scheduler):
            pass


def test_one_thread_and_the_environment_are_given_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with jobs.one_thread():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ and os.environ["MKL_NUM_THREADS"] == "3"
    assert not torch or torch.get_num_threads() == before
