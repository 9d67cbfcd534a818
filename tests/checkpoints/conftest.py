"""Prints how far the product is from the official outputs."""

import pytest
import torch
from checkpoints.golden import ROWS


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The models are tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    largest = {}
    for name, case, quantity, difference, allowed in ROWS:
        key = (name, case, quantity)
        largest[key] = max((difference, allowed), largest.get(key, (0.0, allowed)))
    terminalreporter.write_line(
        "\nlargest difference from the official code, relative to the array's largest value"
    )
    for (name, case, quantity), (difference, allowed) in largest.items():
        terminalreporter.write_line(
            f"  {name:20} {case:32} {quantity:22} {difference:9.2g}  (allowed {allowed:g})"
        )
