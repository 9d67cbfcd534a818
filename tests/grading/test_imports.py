"""Students import the public checks on every system, so the host side may not need what only Linux has."""

import subprocess
import sys

_WITHOUT = """
import sys
for name in ("resource", "fcntl", "pwd", "IPython", "nbformat", "distributed"):
    sys.modules[name] = None
from rs_course.grading import assignment


def cubic(x):
    return x


assert assignment("a3_super_resolution").check("cubic", cubic) is False
"""


def test_public_checks_without_posix_modules():
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "✗ cubic.values" in done.stdout


def test_import_is_light():
    code = "import sys, rs_course.grading, rs_course.grading.exam; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
