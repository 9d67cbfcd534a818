"""Execute the cells of one submission, then evaluate the probes, and write what came out as JSON lines.

Standard input is the job, standard output the results; both are files, so that results written before a
crash stay. A job is a line ``{"cells": [{"id", "source"}], "probes": [{"id", "group", "call", "inputs"}],
"seconds", "output_bytes"}``. A probe evaluates the expression ``call`` with the notebook's names and its
``inputs``. Each cell, and the probes of each group together, may take so many seconds of processor time.
Nothing is judged here.

Another job is ``{"read": [size, size]}`` and as many bytes: a release and a submitted notebook, out of which
the answers are read. No cell runs; a notebook that takes gigabytes to parse fills this process only.
"""

import ast
import asyncio
import builtins
import inspect
import io
import json
import linecache
import os
import signal
import sys
import time
import traceback
import types

import codec

try:
    from IPython.core.inputtransformer2 import TransformerManager
except ImportError:
    TransformerManager = None

_MESSAGE, _SOURCE_NAME = 500, "cell {}"
_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_loop = []
notebooks = None  # set by the zygote


class OutOfTime(BaseException):
    """Raised in the student's code when its time is used up; ``except Exception`` does not stop it."""

    def __init__(self, seconds):
        super().__init__(f"stopped after {seconds:g} s of processor time")


class Capped(io.TextIOBase):
    """A text stream that keeps the first ``limit`` characters and counts nothing else."""

    def __init__(self, limit):
        self.parts, self.left = [], limit

    def writable(self):
        return True

    def write(self, text):
        if self.left > 0:
            self.parts.append(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.parts.append("\n… (more output was dropped)")
        return len(text)


class Shell:
    """What ``get_ipython()`` answers: magics and shell escapes do nothing, cell magics run their body."""

    def __init__(self, execute):
        self._execute = execute

    def run_line_magic(self, *args, **kwargs):
        return None

    def run_cell_magic(self, name, line, cell):
        if name in ("time", "timeit", "capture"):
            self._execute(cell)

    def system(self, command):
        print(f"(shell command not run while grading: {command})")

    getoutput = system

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def run(job, emit, idle_s=None):
    """Run one job.

    Args:
        job: See the module's docstring.
        idle_s: See :func:`main`.
        emit: Called with one dict per event: ``{"begin": id}`` before each cell and probe, then its outcome.
    """
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    names = module.__dict__

    def execute(source, label="cell"):
        filename = _SOURCE_NAME.format(label)
        source = _plain_python(source)
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        tree = ast.parse(source, filename)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        _evaluate(compile(tree, filename, "exec", _TOP_LEVEL_AWAIT), names)
        if last is not None:
            value = _evaluate(compile(ast.Expression(last.value), filename, "eval", _TOP_LEVEL_AWAIT), names)
            if value is not None:
                print(repr(value))

    names["get_ipython"] = lambda: Shell(execute)
    names["display"] = lambda *values, **_: print(*(repr(value) for value in values))

    left = {}

    def step(kind, item, action):
        budget = item.get("group", "cell " + item["id"])
        left.setdefault(budget, job["seconds"])
        emit({"begin": item["id"]})
        screen = Capped(job["output_bytes"])
        sys.stdout = sys.stderr = screen
        event = {kind: item["id"]}
        try:
            with _processor_time(left[budget], idle_s) as timer:
                event.update(action())
        except BaseException as error:
            event["error"] = _describe(error)
        finally:
            left[budget] = max(left[budget] - timer.used, 1e-3)
            event["output"] = "".join(screen.parts)
        emit(event)

    for cell in job["cells"]:
        step("cell", cell, lambda cell=cell: execute(cell["source"], cell["id"]) or {})
    for probe in job["probes"]:

        def evaluate(probe=probe):
            scope = {**names, **{key: codec.decode(value) for key, value in probe["inputs"].items()}}
            exec(compile(f"__result__ = ({probe['call']})", "probe", "exec"), scope)
            return {"value": codec.encode(scope["__result__"])}

        step("probe", probe, evaluate)
    emit({"finished": True})


def _evaluate(code, names):
    """Run compiled code; one that awaits at its top level, as notebooks may, runs in the event loop."""
    value = eval(code, names)
    if not code.co_flags & inspect.CO_COROUTINE:
        return value
    # One loop for the whole notebook: what one cell starts, another may await.
    if not _loop:
        _loop.append(asyncio.new_event_loop())
        asyncio.set_event_loop(_loop[0])
    return _loop[0].run_until_complete(value)


def _plain_python(source):
    """Notebook source without magics; without IPython the source is taken as it is."""
    return source if TransformerManager is None else TransformerManager().transform_cell(source)


class _processor_time:
    """Interrupt the body after so many seconds of *processor* time: a busy machine does not change a grade.

    Code that sleeps instead is interrupted by a SIGALRM from outside; where nobody watches (``idle_s``), by a
    timer after so many seconds by the clock.
    """

    def __init__(self, seconds, idle_s=None):
        self.seconds, self.idle_s, self.used, self.active = seconds, idle_s, 0.0, False
        self.timed = hasattr(signal, "setitimer")

    def __enter__(self):
        def stop(*_):
            if self.active:
                raise OutOfTime(self.seconds)

        self.started, self.active = time.process_time(), True
        if self.timed:
            signal.signal(signal.SIGPROF, stop)
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_PROF, self.seconds, 1.0)
            if self.idle_s:
                signal.setitimer(signal.ITIMER_REAL, self.idle_s, 1.0)
        return self

    def __exit__(self, *_):
        self.active = False
        if self.timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.used = time.process_time() - self.started


def _describe(error):
    """Type, message and the student's own line; every part may be hostile, so none may raise or grow."""
    # The nearest built-in ancestor is a name that the student did not choose.
    family = next(kind for kind in type(error).__mro__ if kind.__module__ in ("builtins", __name__, "codec"))
    described = {"type": type(error).__name__[:80], "family": family.__name__, "message": "", "line": ""}
    try:
        described["message"] = str(error)[:_MESSAGE]
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename.startswith("cell "):
                described["line"] = f"{frame.filename}, line {frame.lineno}: {(frame.line or '')[:200]}"
                break
        if isinstance(error, SyntaxError) and error.lineno:
            described["line"] = f"{error.filename}, line {error.lineno}: {(error.text or '').strip()[:200]}"
    except BaseException:
        described["message"] = described["message"] or "(its message could not be read)"
    return described


def answers(release, submission):
    """The answers in a submitted notebook, as an event; see :func:`notebooks.transplant`."""
    try:
        cells, notes = notebooks.read(submission)
        found = notebooks.transplant(notebooks.read(release)[0], cells)
    except notebooks.Unreadable as error:
        return {"unreadable": str(error)}
    except (MemoryError, RecursionError):
        return {"unreadable": "the notebook takes more memory to read than a notebook should"}
    plain = {name: sorted(v) if isinstance(v, set) else v for name, v in vars(found).items()}
    return {"notes": notes, "transplant": plain}


def main(ready=lambda: None, idle_s=None):
    """Job from standard input, results to standard output; neither is left to the student.

    Args:
        ready: Called when everything is read and before anything of the student's runs.
        idle_s: Seconds by the clock for one step, where nobody watches from outside.
    """
    with os.fdopen(os.dup(0), "rb") as stream:
        job = json.loads(stream.readline())
        attached = [stream.read(size) for size in job.get("read", ())]
    results = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    write, dumps = os.write, json.dumps

    def emit(event):
        line = memoryview(dumps(event).encode("utf-8", "replace") + b"\n")
        while line:
            line = line[write(results, line) :]

    ready()
    if attached:
        emit({"begin": "read"})
        emit(answers(*attached))
    else:
        run(job, emit, idle_s)
    os._exit(0)  # A student's atexit handlers, threads and __del__ methods have no say in the result.
