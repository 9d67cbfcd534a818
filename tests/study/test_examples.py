"""What a study's arms train on, one tile of each class: as frozen; real ones where the data set is here."""

import numpy as np
import pytest

from rs_course import checkpoints, datasets, study


@pytest.fixture
def found():
    return study.finished("is_it_ready")


def test_generated_tiles_are_drawn_as_was_frozen_and_adapted_ones_are_left_out(found, tmp_path):
    found.tested["dataset"] = str(tmp_path / "none")
    shown = study.examples(found, seed=3)
    assert list(shown) == ["@today", "@simulated"]
    pictures, badge = shown["@today"]
    assert pictures.shape == (10, 64, 64, 3) and badge == "generated · mini-text2earth · seed 3"
    classes = found.tested["class_names"].iloc[0]
    drawn = checkpoints.load("mini-text2earth").sample(
        [datasets.class_prompt(name, "eurosat") for name in classes],
        seed=3, steps=8, guidance=4.0, guidance_interval=(0.15, 0.85),
    )  # fmt: skip
    assert np.array_equal(pictures, (255 * drawn).round().byte().permute(0, 2, 3, 1).numpy())


def test_real_and_retrieved_tiles_stand_first_where_the_data_set_is_at_hand(found):
    found.tested["dataset"] = "simulated"
    shown = study.examples(found, searched=300)
    assert list(shown) == ["real", "retrieval", "@today", "@simulated"]
    data = datasets.load("simulated", "train")
    pictures, badge = shown["real"]
    assert badge == data.provenance and np.array_equal(pictures[0], data.images[list(data.labels).index(0)])
    assert shown["retrieval"][0].shape == (10, 64, 64, 3)
