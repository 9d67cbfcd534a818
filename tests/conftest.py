"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with official fixtures and real images that lies beside a checkout on some machines."""
    if not _SHARED.is_dir():
        pytest.skip(
            "needs ../shared (official fixtures and real images), which is not part of the repository"
        )
    return _SHARED
