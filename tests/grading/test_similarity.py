"""Which code counts as alike: copies that hide, rings, and what everyone writes by nature."""

import base64
import random
import time
import zlib

import pytest

from rs_course.grading import own_work, reports

from .conftest import ANSWERS

LONG = """def curve(values):
    total = 0
    for index, value in enumerate(sorted(values)):
        total += (2 * index - len(values) + 1) * value
    return total / (len(values) * sum(values))
"""
OTHER = """def curve(values):
    x = np.sort(values)
    shares = x.cumsum() / x.sum()
    area = np.trapezoid(np.concatenate([[0.0], shares]), dx=1 / len(x))
    if not np.isfinite(area):
        raise ValueError("the values are not finite")
    return 1.0 - 2.0 * area
"""
ANOTHER = """def curve(values):
    n, gaps = len(values), []
    for a in values:
        gaps.append(sum(abs(a - b) for b in values))
    while gaps and gaps[-1] is None:
        gaps.pop()
    return np.mean(gaps) / (2 * n * np.mean(values)) if n else float("nan")
"""


def _record(student, **answers):
    return {"student": student, "manual": [], "answers": answers}


def _with_no_ops(source):
    first, *lines = source.splitlines()
    padded = [first, '    """My own words."""']
    for number, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        extra = ("pass", "0", f"unused_{number} = len([{number}]) + 1", "if False: print('never')")
        padded += [*(f"{indent}{text}" for text in extra), line]
    return "\n".join(["import os", *padded, "    return None"])


def _packed(source, encode, decode, pack=bytes):
    return f"import base64, zlib\nexec(base64.{decode}({encode(pack(source.encode())).decode()!r}))"


RENAMED = LONG.replace("total", "s").replace("index", "i").replace("value", "w").replace("curve", "gini")
COPIES = {
    "renamed": RENAMED,
    "commented": "# mine!\n" + RENAMED.replace("\n", "  # so\n"),
    "no-ops": _with_no_ops(LONG),
    "annotated": LONG.replace("(values)", "(values: list) -> float", 1).replace("= 0", ": int = 0 + 0"),
    "dead branch": LONG.replace("= 0\n", "= 0\n    if True:\n        pass\n    total = total\n"),
    "exec": f"exec({LONG!r})",
    "exec twice": f"exec({f'exec({LONG!r})'!r})",
    "base64": _packed(LONG, base64.b64encode, "b64decode"),
    "base85": _packed(LONG, base64.b85encode, "b85decode"),
    "zlib": _packed(LONG, base64.b64encode, "b64decode", zlib.compress),
    "bytes": f"exec({LONG.encode()!r})",
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_that_hide_are_found(how):
    others = [_record("c", q=OTHER), _record("d", q=ANOTHER)]
    found = own_work.pairs([_record("a", q=LONG), _record("b", q=COPIES[how]), *others])
    assert [pair[:2] for pair in found] == [("a", "b")]


SCRAMBLED = {
    "reversed": f"exec({LONG[::-1]!r}[::-1])",
    "numbers": f"exec(bytes({list(LONG.encode())}))",
    "xor": f"import builtins as b\nb.exec(bytes(n ^ 7 for n in bytes({[n ^ 7 for n in LONG.encode()]})))",
    "imported": f"from builtins import exec as run\nrun(''.join({list(LONG)}))",
    "by a builtin": f"print.__self__.exec(''.join({list(LONG)}))",
    "below a magic": f"%time 1\neval(compile(''.join({list(LONG)}), '', 'exec'))",
}


@pytest.mark.parametrize("how", SCRAMBLED)
def test_text_that_runs_as_code_is_named_on_the_class_page(how):
    graded = [
        _record("a", q=LONG),
        _record("b", q=SCRAMBLED[how]),
        _record("c", q="net.eval()\nre.compile('exec')"),
    ]
    found = own_work.runs_text(graded)
    assert [one[:2] for one in found] == [("b", "q")]
    graded = [record | {"questions": [], "reason": "", "isolation": "process"} for record in graded]
    page = reports.summary("Tiny", [], graded, [])
    assert "Answers that run text as code: 1" in page and "<td>b</td><td>q</td>" in page
    assert "run text as code" not in reports.summary("Tiny", [], graded[:1], [])


def _own(seed):
    """Code of one's own: pieces that the class shares, in an order that nobody else has."""
    pieces = [
        "x = np.sort(values)[::-1]",
        "if len(x) < 2: x = float(x[0])",
        "y = [a * b for a, b in zip(x, values)]",
        "for k, a in enumerate(y): x[k] -= a / (k + 1)",
        "z = np.where(x > 0, x, -x).sum(axis=0)",
        "w = {k: v for k, v in enumerate(y) if v}",
        "z = max(z, *w.values(), len(w) ** 2)",
        "while z > 1e3: z, y = z / 2, y[1:]",
        "x = (x - x.mean()) / (x.std() + 1e-9)",
        "assert not np.isnan(x).any(), 'nan'",
    ]
    random.Random(seed).shuffle(pieces)
    return "def curve(values):\n" + "".join(f"    {piece}\n" for piece in pieces) + "    return x @ x + z"


@pytest.mark.parametrize(("copies", "others"), [(4, 5), (30, 30), (45, 15)])
def test_a_ring_does_not_pass_for_the_usual_way(copies, others):
    ring = [_record(f"r{n}", q=RENAMED if n % 2 else LONG) for n in range(copies)]
    rest = [_record(f"o{n}", q=_own(n)) for n in range(others)]
    groups = own_work.rings(own_work.pairs(ring + rest))
    assert groups[0] == sorted(record["student"] for record in ring)


def test_those_who_wrote_their_own_are_no_pairs():
    assert own_work.pairs([_record(str(n), q=_own(n)) for n in range(40)]) == []


def test_what_everyone_was_given_or_wrote_does_not_count():
    assert own_work.pairs([_record("a", q=LONG), _record("b", q=LONG)], release=LONG) == []
    assert own_work.pairs([_record(str(n), q=LONG) for n in range(8)]) == []


def test_answers_are_alike_by_nature():
    """Honest answers of a few lines are too short to accuse anyone."""
    assert own_work.pairs([_record("a", q=ANSWERS["double"]), _record("b", q=ANSWERS["double"])]) == []


def test_rings_are_what_pairs_connect():
    alike = [("a", "b", 1.0, 9), ("c", "d", 1.0, 9), ("b", "e", 0.9, 9), ("e", "a", 0.9, 9)]
    assert own_work.rings(alike) == [["a", "b", "e"], ["c", "d"]] and own_work.rings([]) == []


def test_the_class_page_shows_a_ring_once_and_names_as_text():
    alike = [("a", "<b>x", 1.0, 9), ("<b>x", "c", 1.0, 9), ("a", "c", 1.0, 9), ("d", "e", 0.7, 5)]
    page = reports.summary("Tiny", [], [], alike)
    assert "Similar code: 4 pairs" in page and ">&lt;b&gt;x, a, c<" in page and "<b>x" not in page
    assert page.count("<td>d</td><td>e</td>") == 1 and "<td>a</td>" not in page


BOMB = base64.b64encode(zlib.compress(b"f(1);" * 40_000)).decode()
HOSTILE = {
    "brackets": "x = " + "(" * 5000,
    "signs": "x = " + "-" * 50_000 + "1",
    "a long string": "exec('" + "a" * 1_000_000 + "')",
    "bombs": "\n".join(f"x{number} = {BOMB!r}" for number in range(300)),
    "not code": "def f(:\n  '''",
    "a null": "\0",
    "surrogates": "x = '\\ud800' + \"\ud800\"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_code_costs_little(kind):
    started = time.monotonic()
    assert own_work.fingerprint(HOSTILE[kind]) is not None
    assert time.monotonic() - started < 5
