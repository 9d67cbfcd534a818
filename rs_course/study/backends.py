"""Where tasks run: in this process, on local Dask workers, or on a Dask cluster.

A backend is a function ``(function name, {id: task}) -> iterator of (id, result, seconds, error)``, in any
order. Each task runs on one thread: numbers then do not depend on how many cores a worker has, and one
process per core is faster than one process with all cores for networks of this size.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager

from rs_course.jobs import environment

ANSWER_SECONDS = 5  # how long a scheduler may take to answer
WORKER_SECONDS = 30  # how long a cluster may take to show its first worker


def choose(workers: int = 0, scheduler: str | None = None):
    """The backend for these options.

    Raises:
        ValueError: Both, or a negative number of workers.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: give 0 to run in this process, or a number of processes.")
    if workers and scheduler:
        raise ValueError("give either a number of local workers or the address of a scheduler, not both.")
    if scheduler:
        return lambda function, tasks: _on_cluster(scheduler, function, tasks)
    if workers:
        return lambda function, tasks: _on_workers(workers, function, tasks)
    return _here


def attempt(function: str, name: str, task: dict):
    """Run one task; an error becomes its sentence, so that one bad setting does not stop a study."""
    from rs_course.study.plan import Plan

    start = time.perf_counter()
    with one_thread():
        try:
            result = Plan("", (), function).resolve()(dict(task))
            error = None if isinstance(result, dict) else f"TypeError: {function} returned no dict."
        except Exception as problem:
            result, error = None, f"{type(problem).__name__}: {problem}"
    return name, result, time.perf_counter() - start, error


@contextmanager
def one_thread():
    """Compute on one thread, also in libraries that are loaded later."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    if torch:
        torch.set_num_threads(1)
    try:
        with environment(dict.fromkeys(names, "1")):
            yield
    finally:
        if threads:
            torch.set_num_threads(threads)


def _here(function, tasks):
    for name, task in tasks.items():
        yield attempt(function, name, task)


@contextmanager
def local(workers: int):
    """A Dask client of so many worker processes on this machine, one thread each."""
    from distributed import Client, LocalCluster

    with (
        one_thread(),  # the workers inherit it
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port: another study may hold the usual one
            memory_limit=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _on_workers(workers, function, tasks):
    if tasks:
        with local(min(workers, len(tasks))) as client:
            yield from results(client, function, tasks)


def _on_cluster(address, function, tasks):
    if not tasks:
        return
    from distributed import Client

    with _quiet("distributed"):
        try:
            client = Client(address, timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise RuntimeError(
                f"no Dask scheduler answers at {address} within {ANSWER_SECONDS} s: start one with "
                "`dask scheduler`, check the address, or use --workers N on this machine."
            ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise RuntimeError(
                f"the scheduler at {address} has no workers: start some with `dask worker {address}`."
            ) from error
        _same_course(client, address)
        yield from results(client, function, tasks)


def results(client, function, tasks):
    """Submit all tasks; a worker that dies gives its task to another one, three times at most."""
    from distributed import as_completed

    futures = [
        client.submit(attempt, function, name, task, key=f"task-{name}", pure=False)
        for name, task in tasks.items()
    ]
    names = {f"task-{name}": name for name in tasks}
    for future in as_completed(futures):
        try:  # not by its status: a worker that dies with a finished row in memory has its task run again
            row = future.result()
        except Exception as error:
            row = names[future.key], None, 0.0, f"{type(error).__name__}: {error}"
        yield row
        future.release()


def _same_course(client, address):
    """A worker with other sources would write rows under hashes that are not theirs."""
    from rs_course.study.fingerprints import of_inputs

    sources = {"code": "rs_course"}
    try:
        theirs = client.submit(of_inputs, sources, pure=False).result()
    except Exception as error:
        raise RuntimeError(
            f"the workers of {address} cannot import rs_course ({error}): install the same version there."
        ) from error
    if theirs != of_inputs(sources):
        raise RuntimeError(
            f"the workers of {address} have another version of rs_course: install the same one there."
        )


@contextmanager
def _quiet(name):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
