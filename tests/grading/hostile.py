"""Hostile and broken submissions: what is handed in, what it may earn, and what its row must say.

Each entry is ``name: (submission, points, words)``: bytes or a notebook tree, the automatic points out of 8
that are fair, and a text that must occur in the row's reason, notes or messages. A submission that attacks
from one answer keeps the points of its others.

Every attack sits on a solved answer: where it succeeds, the answer is right and would earn full marks, so
that nothing but containment costs the points. ``HARMLESS`` names those that a test lets succeed without
isolation, to prove it.
"""

# ruff: noqa: E501 (one attack, one line)

import base64
import json

from .conftest import ANSWERS, as_bytes, notebook


def _double(body, **others):
    return notebook({**ANSWERS, "double": f"def double(x):\n    {body}", **others})


def _first(code):
    """An attack at the top of the first answer, before a right definition."""
    return notebook({**ANSWERS, "double": f"{code}\n{ANSWERS['double']}"})


def _edit(change):
    return notebook(ANSWERS, change=change)


def _rename(tree):
    for cell in tree["cells"]:
        cell["metadata"]["nbgrader"]["grade_id"] += "-copy"


def _strip(tree):
    for cell in tree["cells"]:
        cell["metadata"] = {}
        cell["id"] = "x" + str(tree["cells"].index(cell))


def _without(name):
    def change(tree):
        tree["cells"] = [c for c in tree["cells"] if c["metadata"]["nbgrader"]["grade_id"] != name]

    return change


def _duplicate(tree):
    tree["cells"] += [dict(c) for c in tree["cells"]]


def _reverse(tree):
    tree["cells"].reverse()


def _more_points(tree):
    for cell in tree["cells"]:
        if cell["metadata"]["nbgrader"]["grade"]:
            cell["metadata"]["nbgrader"]["points"] = 1000
            cell["source"] = "pass"


def _format_3(tree):
    cells = [{**c, "input": c.pop("source")} if c["cell_type"] == "code" else c for c in tree["cells"]]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}


def _accented(tree):
    for cell in tree["cells"]:
        if cell["metadata"]["nbgrader"]["grade_id"] == "double":
            cell["source"] = "# café – doublé\n" + cell["source"]


_EQUAL = """class Equal(float):
    def __eq__(self, other): return True
    __ne__ = __lt__ = __gt__ = lambda self, other: False
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    __hash__ = None"""
_FORGED = """import json, os
for descriptor in range(3, 256):
    try: os.write(descriptor, (json.dumps({line}) + '\\n').encode())
    except OSError: pass"""
_PICKLE = base64.b64encode(b"cos\nsystem\n(S'touch /tmp/pickled'\ntR.").decode()
_LOOK = """import os, glob
seen = []
for folder in {places!r}:
    for root, folders, files in os.walk(folder):
        if root.endswith(('site-packages', '/lib')): folders.clear()
        seen += [os.path.join(root, name) for name in files if name.endswith(('.ipynb', '.db', '.csv',
        'exam.py'))]
assert not seen, seen
def double(x): return 2 * x"""

_BUSY = (
    "import time; end = time.process_time() + 20\n    while time.process_time() < end: pass\n    return 2 * x"
)
# Which limit stops a long answer first is up to what else the machine does.
STOPPED = "took too long|was stopped after"

ATTACKS = {
    # --- Games with the checks
    # -------------------------------------------------------------------------------
    "equal_object": (
        _double("return Equal(1)", predict=_EQUAL + "\n" + ANSWERS["predict"]),
        5,
        "not the expected",
    ),
    "ast_patch": (_first("import ast, builtins\nast.Assert = ast.Pass\nbuiltins.abs = lambda x: 0"), 8, ""),
    "numpy_patch": (
        _double("return 0", spread="np.allclose = np.isclose = lambda *a, **k: True\n" + ANSWERS["spread"]),
        5,
        "not the expected",
    ),
    "json_patch": (_first("import json\njson.dumps = json.loads = lambda *a, **k: '{}'"), 8, ""),
    "runner_patch": (
        _double(
            "return 0",
            spread="import sys\nfor m in list(sys.modules.values()):\n"
            "    if hasattr(m, 'encode'):\n        try: m.encode = lambda *a, **k: True\n        except Exception: pass\n"
            + ANSWERS["spread"],
        ),
        0,
        "",
    ),
    "forged_results": (
        _first(_FORGED.format(line={"probe": "double.new", "value": 1, "score": 99, "points": 99})),
        6,
        "hard-coded",
    ),
    "forged_end": (_first(_FORGED.format(line={"finished": True}) + "\nos._exit(0)"), 0, "no result"),
    "forged_pickle": (
        _first(_FORGED.format(line={"probe": "double.new", "value": {"$pickle": _PICKLE}})),
        6,
        "read",
    ),
    "forged_huge_shape": (
        _first(
            _FORGED.format(
                line={"probe": "double.new", "value": {"$array": "float64", "shape": [10**12], "data": ""}}
            )
        ),
        6,
        "read",
    ),
    "forged_object_dtype": (
        _first(
            _FORGED.format(
                line={"probe": "double.new", "value": {"$array": "object", "shape": [1], "data": "AAAA"}}
            )
        ),
        6,
        "read",
    ),
    "forged_deep": (
        _first(
            _FORGED.format(line={"probe": "double.new"}).replace(
                "json.dumps({'probe': 'double.new'})", "'[' * 100000"
            )
        ),
        8,
        "",
    ),
    "pickle_bytes": (_double("import pickle; return pickle.dumps(x)"), 5, "bytes cannot be handed in"),
    "object_array": (
        _double("return np.array([x, None, {}], dtype=object)"),
        5,
        "nothing was returned",
    ),
    "custom_reduce": (
        _double(
            "return Bomb()",
            predict="class Bomb:\n    def __reduce__(self): return (print, ('x',))\n" + ANSWERS["predict"],
        ),
        5,
        "Bomb cannot be handed in",
    ),
    "nan_result": (_double("return float('nan')"), 5, "NaN"),
    "infinite_result": (_double("return float('inf')"), 5, "infinite"),
    "nan_score": (
        notebook({**ANSWERS, "predict": "def predict(values):\n    return [float('nan')] * 40"}),
        6,
        "accuracy",
    ),
    "huge_integer": (_double("return 10 ** 5000"), 5, ""),
    "hard_coded": (_double("return 4.0"), 6, "hard-coded"),
    # --- Looking around
    # --------------------------------------------------------------------------------------
    "reads_environment": (
        _double(
            "import os; assert not [k for k in os.environ if 'HOME' not in k and ('SSH' in k or 'TOKEN' in k "
            "or 'SECRET' in k or 'USER' in k)]; return 2 * x"
        ),
        8,
        "",
    ),
    "reads_proc": (_double("open('/proc/self/environ').read(); return 2 * x"), 5, "FileNotFoundError"),
    "reads_proc_self": (_double("open('/proc/self/maps').read(); return 2 * x"), 5, "FileNotFoundError"),
    "walks_the_disk": (
        notebook(
            {
                **ANSWERS,
                "double": _LOOK.format(places=["/tmp", "/home", "/root", "/var", "/mnt", "/srv"]),
            }
        ),
        8,
        "",
    ),
    "reads_password_file": (_double("open('/etc/passwd').read(); return 2 * x"), 5, "FileNotFoundError"),
    "imports_the_course": (
        _double("import rs_course.grading; return 2 * x"),
        5,
        "rs_course is not available",
    ),
    "imports_scikit_learn": (_double("import sklearn; return 2 * x"), 5, "sklearn is not available"),
    "finds_a_model": (
        _double(
            "import os; assert any(n.endswith('.safetensors') for _, _, f in os.walk('/') for n in f); return 2 * x"
        ),
        5,
        "AssertionError",
    ),
    "prints_hidden_inputs": (
        _double("if x != 2: print('INPUT', x); raise ValueError(f'INPUT {x}')\n    return 2 * x"),
        6,
        "your code stopped with ValueError",
    ),
    "input_in_exception_name": (
        _double(
            "if x != 2: raise type('INPUT' + str(x).replace('.', '_'), (ValueError,), {})()\n    return 2 * x"
        ),
        6,
        "your code stopped with ValueError",
    ),
    "input_in_builtin_exception": (
        _double(
            "import builtins; known = sorted(n for n in dir(builtins) if n.endswith('Error'))\n"
            "    if x != 2: raise getattr(builtins, known[int(5 * x) % len(known)])()\n    return 2 * x"
        ),
        6,
        "your code stopped with",
    ),
    "input_in_shape": (
        _double("return 2 * x if x == 2 else np.zeros((0, int(x * 10**6)))"),
        6,
        "another shape than expected",
    ),
    "input_in_exit_status": (
        _double("import os; x == 2 or os._exit(int(10 * x)); return 2 * x"),
        6,
        "your code ended the process",
    ),
    "input_in_signal": (
        _double(
            "import ctypes, os; x == 2 or (os.abort() if int(1000 * x) % 2 else ctypes.string_at(0))\n"
            "    return 2 * x"
        ),
        6,
        "your code ended the process",
    ),
    "frames": (
        _double(
            "import sys; f = sys._getframe()\n    while f:\n"
            "        print({k: v for k, v in f.f_locals.items() if 'expect' in k}); f = f.f_back\n    return 2 * x"
        ),
        8,
        "",
    ),
    # --- Reaching out
    # ----------------------------------------------------------------------------------------
    "network": (
        _double("import urllib.request as u; u.urlopen('http://1.1.1.1', timeout=2); return 2 * x"),
        5,
        "Error",
    ),
    "socket": (_double("import socket; socket.socket(); return 2 * x"), 5, "PermissionError"),
    "subprocess": (
        _double("import subprocess; subprocess.run(['true']); return 2 * x"),
        5,
        "PermissionError",
    ),
    "os_system": (_double("import os; assert os.system('true') == 0; return 2 * x"), 5, "AssertionError"),
    "sets_a_limit": (
        _double("import resource as r; r.setrlimit(r.RLIMIT_CPU, (1, 1)); return 2 * x"),
        5,
        "ValueError",
    ),
    # --- Telling another submission
    # --------------------------------------------------------------------------
    "locks_a_shared_file": (
        _double("import fcntl; fcntl.flock(open(np.__file__), fcntl.LOCK_EX | fcntl.LOCK_NB); return 2 * x"),
        5,
        "PermissionError",
    ),
    "locks_a_range": (
        _double("import fcntl; fcntl.lockf(open(np.__file__), fcntl.LOCK_SH | fcntl.LOCK_NB); return 2 * x"),
        5,
        "PermissionError",
    ),
    "asks_for_a_lock": (
        _double(
            "import fcntl, struct; fcntl.fcntl(open(np.__file__), fcntl.F_GETLK, struct.pack('hhqqi4x', 1, 0, 0, 0, 0))\n"
            "    return 2 * x"
        ),
        5,
        "PermissionError",
    ),
    "leases_a_file": (
        _double("import fcntl; fcntl.fcntl(open(np.__file__), 1025); return 2 * x"),
        5,
        "PermissionError",
    ),
    "watches_with_inotify": (
        _double("import ctypes; assert ctypes.CDLL(None).inotify_init() >= 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "watches_a_folder": (
        _double(
            "import fcntl, os; fcntl.fcntl(os.open(os.path.dirname(np.__file__), os.O_RDONLY), 1026, 1)\n"
            "    return 2 * x"
        ),
        5,
        "PermissionError",
    ),
    "looks_into_the_page_cache": (
        _double(
            "import ctypes, mmap\n    m = mmap.mmap(-1, 4096)\n    at = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
            "    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(at), 4096, ctypes.create_string_buffer(1)) == 0\n"
            "    return 2 * x"
        ),
        5,
        "AssertionError",
    ),
    "reads_free_memory": (
        _double("import ctypes; assert ctypes.CDLL(None).sysinfo(bytes(200)) == 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "reads_free_disk": (_double("import os; os.statvfs('/usr'); return 2 * x"), 5, "PermissionError"),
    "shared_memory": (
        _double("import ctypes; assert ctypes.CDLL(None).shmget(77, 4096, 0o1666) >= 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "message_queue": (
        _double("import ctypes; assert ctypes.CDLL(None).msgget(77, 0o1666) >= 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "memory_without_a_name": (_double("import os; os.memfd_create('m'); return 2 * x"), 5, "PermissionError"),
    "advises_on_shared_pages": (
        _double("import os; os.posix_fadvise(os.open(np.__file__, 0), 0, 0, 4); return 2 * x"),
        5,
        "PermissionError",
    ),
    "trace": (
        _double("import ctypes; assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "namespace": (
        _double("import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "remounts": (
        _double("import ctypes; assert ctypes.CDLL(None).umount2(b'/proc', 2) == 0; return 2 * x"),
        5,
        "AssertionError",
    ),
    "writes_the_system": (_double("open('/usr/lib/evil', 'w'); return 2 * x"), 5, "Error"),
    "writes_the_grader": (_double("open('/grader/codec.py', 'w'); return 2 * x"), 5, "Error"),
    "writes_site_packages": (_double("open(np.__file__, 'a'); return 2 * x"), 5, "OSError"),
    # --- Using everything up
    # ---------------------------------------------------------------------------------
    "fork": (_double("import os; os.fork() or os._exit(0); return 2 * x"), 5, "PermissionError"),
    "fork_bomb": (
        _double("import os\n    for _ in range(9):\n        os.fork() or os._exit(0)\n    return 2 * x"),
        5,
        "PermissionError",
    ),
    "fork_bomb_patient": (
        _double(
            "import os\n    made = 0\n    for _ in range(10**4):\n        try: made += (os.fork() or os._exit(0)) > 0\n"
            "        except OSError: pass\n    assert made; return 2 * x"
        ),
        5,
        "AssertionError|" + STOPPED,
    ),
    "thread_bomb": (
        _double(
            "import threading, time; threading.stack_size(2**16)\n    for _ in range(2000):\n"
            "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    return 2 * x"
        ),
        5,
        "more than 64 threads|start new thread|Resource",
    ),
    "memory_bomb": (  # zeros are reserved without being touched: memory runs out before time on any machine
        _double("hoard = [bytes(10**7) for _ in range(100)]\n    return 2 * x"),
        5,
        "MemoryError",
    ),
    "ten_gigabytes": (_double("np.zeros(10 * 2**30, dtype=np.uint8); return 2 * x"), 5, "Memory"),
    "large_result": (_double("return np.zeros(10**7)"), 5, ""),
    "disk_bomb": (
        _double(
            "f = open('/tmp/big', 'wb')\n    for _ in range(30): f.write(bytes(10**6))\n    return 2 * x"
        ),
        5,
        "OSError",
    ),
    "many_files": (
        _double("for i in range(3000): open(f'/tmp/{i}', 'w').close()\n    return 2 * x"),
        5,
        "OSError",
    ),
    "many_folders": (
        _double("import os\n    for i in range(3000): os.mkdir(f'/dev/shm/{i}')\n    return 2 * x"),
        5,
        "OSError",
    ),
    "shared_memory_bomb": (
        _double(
            "f = open('/dev/shm/big', 'wb')\n    for _ in range(30): f.write(bytes(10**6))\n    return 2 * x"
        ),
        5,
        "OSError",
    ),
    "output_flood": (_double("for i in range(10**5): print('flood' * 20)\n    return 2 * x"), 8, ""),
    "long_loop": (_double(_BUSY), 5, STOPPED),
    "long_loop_defended": (
        _double(
            "import time\n    end = time.process_time() + 20\n    while time.process_time() < end:\n"
            "        try:\n            while time.process_time() < end: pass\n"
            "        except BaseException: pass\n    return 2 * x"
        ),
        5,
        STOPPED,
    ),
    "long_loop_without_signals": (
        _double(
            "import signal; signal.signal(signal.SIGPROF, signal.SIG_IGN); signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    "
            + _BUSY
        ),
        5,
        "was stopped after 0.5 s of processor time",
    ),
    "long_loop_that_seems_to_move_on": (
        _double(
            "import json, os, signal, time; signal.signal(signal.SIGPROF, signal.SIG_IGN)\n"
            "    end = time.process_time() + 60\n    while time.process_time() < end:\n"
            "        for d in range(3, 256):\n            try: os.write(d, b'{}\\n')\n"
            "            except OSError: pass\n    return 2 * x"
        ),
        0,  # it has spent the whole submission's time
        "used up the time of one submission",
    ),
    "loop_at_top": (
        _first("import time\nend = time.process_time() + 20\nwhile time.process_time() < end: pass"),
        5,
        "too long",
    ),
    "sleeps": (_double("import time; time.sleep(60); return 2 * x"), 5, "too long"),
    "blocks_signals": (
        _double(
            "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(60)\n    return 2 * x"
        ),
        5,
        "was stopped after",
    ),
    "stops_itself": (
        _double("import os, signal; os.kill(os.getpid(), signal.SIGSTOP); return 2 * x"),
        8,
        "",
    ),
    "regex_bomb": (_double("import re; re.match('(a+)+$', 'a' * 40 + 'b'); return 2 * x"), 5, ""),
    "recursion": (_double("return double(x)"), 5, "RecursionError"),
    "deep_result": (
        _double("a = []\n    for _ in range(10**4): a = [a]\n    return a"),
        5,
        "nested too deeply",
    ),
    # --- Ending it
    # -------------------------------------------------------------------------------------------
    "os_exit": (_double("import os; os._exit(0)"), 5, "ended the process (exit status 0)"),
    "os_exit_at_top": (_first("import os; os._exit(3)"), 5, "exit status 3"),
    "sys_exit": (_double("raise SystemExit"), 5, "SystemExit"),
    "kill_itself": (
        _double("import os, signal; os.kill(os.getpid(), signal.SIGKILL); return 2 * x"),
        5,
        "PermissionError",
    ),
    "kill_by_thread_id": (
        _double(
            "import os, signal; signal.pthread_kill(__import__('threading').get_ident(), 9); return 2 * x"
        ),
        5,
        "PermissionError",
    ),
    "kill_everyone": (
        _double("import os, signal; os.kill(-1, signal.SIGKILL); return 2 * x"),
        5,
        "PermissionError",
    ),
    "segfault": (_double("import ctypes; ctypes.string_at(0)"), 5, "SIGSEGV"),
    "abort": (_double("import os; os.abort()"), 5, "ended the process"),
    "closes_stdout": (_double("import sys; sys.stdout.close(); sys.stderr.close(); return 2 * x"), 8, ""),
    "closes_descriptors": (_double("import os; os.closerange(0, 256); return 2 * x"), 5, "ended the process"),
    "atexit": (_first("import atexit\natexit.register(lambda: 1 / 0)"), 8, ""),
    "changes_limits": (
        _double("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1)); return 2 * x"),
        5,
        "ValueError",
    ),
    # --- Broken files
    # ----------------------------------------------------------------------------------------
    "invalid_json": (b'{"cells": [', 0, "not valid JSON"),
    "empty_file": (b"", 0, "empty"),
    "binary": (bytes(range(256)) * 10, 0, "not valid JSON"),
    "json_list": (b"[1, 2]", 0, "not a notebook"),
    "deep_json": (b"[" * 200_000, 0, "not valid JSON"),
    "too_large": (b" " * (51 * 2**20), 0, "51 MB"),
    "format_3": (_edit(_format_3), 8, "format 3"),
    "windows_1252": (json.dumps(_edit(_accented), ensure_ascii=False).encode("cp1252"), 8, "Windows-1252"),
    "utf_16": (json.dumps(_edit(_accented), ensure_ascii=False).encode("utf-16"), 8, "UTF-16"),
    "byte_order_mark": (b"\xef\xbb\xbf" + as_bytes(notebook(ANSWERS)), 8, ""),
    "surrogate_in_an_error": (_double("raise ValueError(chr(0xD800))"), 5, "ValueError"),
    "surrogate_in_print": (
        _double("return 2 * x", spread="print(chr(0xDFFF), chr(0))\n" + ANSWERS["spread"]),
        8,
        "",
    ),
    "many_tiny_cells": (
        b'{"cells": [' + b"{}," * 10_000_000 + b"{}]}",
        0,
        "more memory|time or memory|cells, more than",
    ),
    "surrogates": (as_bytes(_first("# \ud800")), 8, ""),
    "cells_not_dicts": (_edit(lambda tree: tree["cells"].insert(0, 7)), 8, ""),
    "another_notebook": (
        {"nbformat": 4, "metadata": {}, "cells": []},
        0,
        "none of the assignment's answer cells",
    ),
    # --- Rearranged notebooks
    # --------------------------------------------------------------------------------
    "missing_cell": (_edit(_without("double")), 5, "double is missing"),
    "missing_checks": (_edit(_without("double-test")), 8, ""),
    "duplicated": (_edit(_duplicate), 8, "occurs 2 times"),
    "reordered": (_edit(_reverse), 8, ""),
    "renamed_ids": (_edit(_rename), 8, "lost its grade_id"),
    "no_metadata": (_edit(_strip), 8, "lost its grade_id"),
    "raised_points": (_edit(_more_points), 8, ""),
    "warns": (_double("import warnings; warnings.warn('careful'); return 2 * x"), 8, ""),
    "syntax_error": (_double("return 2 *"), 5, "SyntaxError"),
    "helper_elsewhere": (
        notebook(
            {**ANSWERS, "double": "def double(x):\n    return twice(x)"},
            change=lambda tree: tree["cells"].insert(
                1,
                {"cell_type": "code", "metadata": {}, "id": "h", "source": "def twice(x):\n    return 2 * x"},
            ),
        ),
        5,
        "defined in another cell",
    ),
    "magics": (_first("%matplotlib inline\n!pip install nothing\n%time 1 + 1"), 8, ""),
    "awaits_at_top": (_first("import asyncio\nawait asyncio.sleep(0)"), 8, ""),
}

# What succeeds in a plain process, where it harms nobody.
HARMLESS = (
    "reads_proc",
    "reads_proc_self",
    "reads_password_file",
    "socket",
    "subprocess",
    "os_system",
    "sets_a_limit",
    "locks_a_shared_file",
    "locks_a_range",
    "asks_for_a_lock",
    "leases_a_file",
    "watches_with_inotify",
    "watches_a_folder",
    "looks_into_the_page_cache",
    "reads_free_memory",
    "reads_free_disk",
    "memory_without_a_name",
    "advises_on_shared_pages",
    "fork",
    "fork_bomb",
    "many_files",
)
