"""A small network is kept and loaded with its classes, in half the bytes."""

import pytest
import torch

from rs_course import classification
from rs_course.classification import classifiers


def test_a_network_comes_back_with_its_classes_and_another_folder_is_refused(tmp_path):
    model = classifiers.build("small-cnn", 3, seed=4).eval()
    about = {"source": "a test", "licence": "MIT", "training_data": "none"}
    classifiers.save(model, tmp_path / "own", ["a", "b", "c"], **about)
    again, classes = classification.load(tmp_path / "own")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert classes == ["a", "b", "c"] and not again.training
    assert torch.allclose(again(x), model(x), atol=2e-2)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="names no classes in its card"):
        classification.load(tmp_path / "none")
