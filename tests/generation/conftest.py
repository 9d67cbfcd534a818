"""A tiny generator with weights made by a formula, and lists of prompts for it."""

import pytest
import torch
from checkpoints.tiny import write_checkpoint

from rs_course.checkpoints.checkpoint import write_card


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The model is tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def generator(tmp_path_factory):
    """Folder of a checkpoint in DiffusionSat's layout."""
    folder = write_checkpoint(tmp_path_factory.mktemp("generator") / "tiny")
    write_card(folder, source="made here", licence="MIT", training_data="none", settings={"guidance": 2.0})
    return folder
