"""Fixtures that several test modules share."""

from collections import Counter
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first, then the notebooks: so processes that share them end together."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], item.path.suffix != ".ipynb"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with official fixtures and real images that lies beside a checkout on some machines."""
    if not _SHARED.is_dir():
        pytest.skip(
            "needs ../shared (official fixtures and real images), which is not part of the repository"
        )
    return _SHARED
