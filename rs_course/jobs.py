"""Independent jobs: in this process, on local Dask workers, or on a Dask cluster.

>>> with runner(workers=2) as run:  # doctest: +SKIP
...     for key, value, error in run.each(make, {"a": (1,), "b": (2,)}):
...         print(key, value if error is None else f"failed: {error}")

Jobs are functions of a module with arguments that can be pickled. They end in any order, and what they make
is stored by whoever asked, as it arrives: then a kill costs the jobs under way, and the next run asks for the
rest.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
ANSWER_SECONDS = 5  # how long a scheduler may take to answer
WORKER_SECONDS = 30  # how long a cluster may take to show its first worker


@dataclass(frozen=True)
class Runner:
    """Where jobs run; made by :func:`runner`.

    Attributes:
        client: Of Dask, or ``None`` for this process.
        workers: Processes on this machine; 0 for this one and for a cluster.
    """

    client: Any = None
    workers: int = 0

    def call(self, function: Callable, *arguments) -> Any:
        """Run one job and wait for it; its error is raised."""
        if self.client is None:
            return function(*arguments)
        return self.client.submit(function, *arguments, pure=False).result()

    def each(
        self, function: Callable, jobs: Mapping[Key, tuple], *, retries: int = 0
    ) -> Iterator[tuple[Key, Any, Exception | None]]:
        """Run all jobs, each ``function(*arguments)``.

        A worker that dies gives its job to another one, as often as Dask allows.

        Args:
            function: Of a module.
            jobs: Arguments by key.
            retries: How often a job that failed is tried again on a worker.

        Yields:
            ``(key, result, None)`` or ``(key, None, error)``, as they end.
        """
        if self.client is None:
            for key, arguments in jobs.items():
                yield key, *_outcome(lambda own=arguments: function(*own))
            return
        from distributed import as_completed

        futures = {
            self.client.submit(function, *arguments, pure=False, retries=retries): key
            for key, arguments in jobs.items()
        }
        for future in as_completed(list(futures)):
            # Not by its status: a worker that dies with a finished job in memory has the job run again.
            yield futures.pop(future), *_outcome(future.result)
            future.release()


@contextmanager
def runner(workers: int = 0, scheduler: str | None = None) -> Iterator[Runner]:
    """The place for jobs.

    Args:
        workers: Processes on this machine, of one thread each; 0 is this process.
        scheduler: Address of a Dask scheduler instead, ``tcp://host:8786``.

    Raises:
        ValueError: Both, or a negative number of workers.
        RuntimeError: No scheduler answers, it has no workers, or they have other sources of the course.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: give 0 to run in this process, or a number of processes.")
    if workers and scheduler:
        raise ValueError("give either a number of local workers or the address of a scheduler, not both.")
    if scheduler:
        with _cluster(scheduler) as client:
            yield Runner(client)
    elif workers:
        with _local(workers) as client:
            yield Runner(client, workers)
    else:
        yield Runner()


def print_progress(line: str) -> None:
    """Progress on standard error; standard output stays for results."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, also in libraries that are loaded later and in processes started inside.

    Numbers then do not depend on how many cores a machine has.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    if torch:
        torch.set_num_threads(1)
    try:
        with environment(dict.fromkeys(names, "1")):
            yield
    finally:
        if torch and threads:
            torch.set_num_threads(threads)


def sources() -> str:
    """SHA-256 of the package's sources: workers with others would make something else."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _outcome(job: Callable) -> tuple[Any, Exception | None]:
    try:
        return job(), None
    except Exception as error:
        return None, error


@contextmanager
def _local(workers: int):
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "memory_limit": None, "silence_logs": logging.CRITICAL}
    # Any free port for the dashboard: another run may hold the usual one.
    with (
        one_thread(),
        LocalCluster(workers, dashboard_address="127.0.0.1:0", **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _cluster(address: str):
    from distributed import Client

    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise RuntimeError(
            f"no Dask scheduler answers at {address} within {ANSWER_SECONDS} s: start one with "
            "`dask scheduler`, check the address, or use --workers N on this machine."
        ) from error
    finally:
        logger.setLevel(level)
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise RuntimeError(
                f"the scheduler at {address} has no workers: start some with `dask worker {address}`."
            ) from error
        try:
            theirs = client.submit(sources, pure=False).result()
        except Exception as error:
            raise RuntimeError(
                f"the workers of {address} cannot import rs_course ({error}): install the same version there."
            ) from error
        if theirs != sources():
            raise RuntimeError(
                f"the workers of {address} have another version of rs_course: install the same one there."
            )
        yield client
