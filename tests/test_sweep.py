"""A sweep is the same pictures as single calls, in the right cells, with the same noise everywhere."""

import pytest
import torch
from checkpoints.tiny import write_checkpoint

from rs_course import checkpoints
from rs_course.sampling.figures import sweep


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return checkpoints.load(write_checkpoint(tmp_path_factory.mktemp("tiny") / "sat"))


def test_cells_are_the_tiles_of_single_calls(generator):
    look = sweep(
        generator,
        "a river",
        rows={"guidance": [1, 3]},
        columns={"month": [1, 7]},
        metadata={"gsd": 10.0},
        seed=4,
        steps=3,
    )
    assert look.images.shape[:2] == (2, 2)
    for i, guidance in enumerate((1, 3)):
        for j, month in enumerate((1, 7)):
            place = {"gsd": 10.0, "month": month}
            single = generator.sample("a river", metadata=place, guidance=guidance, seed=4, steps=3)
            torch.testing.assert_close(look.images[i, j], single[0], atol=1e-4, rtol=0)
    assert look.column_labels == ["Jan", "Jul"]
    assert look.row_labels == ["guidance 1", "guidance 3"]


def test_noise_along_an_axis_is_that_of_the_image_s_index(generator):
    look = sweep(generator, "a river", columns={"noise": [0, 2]}, steps=2, seed=1)
    three = generator.sample(["a river"] * 3, steps=2, seed=1)
    torch.testing.assert_close(look.images[0], three[[0, 2]], atol=1e-4, rtol=0)


def test_prompts_and_negative_prompts_are_axes(generator):
    look = sweep(
        generator,
        "",
        {"prompt": ["a river", "a lake"]},
        {"negative_prompt": ["", "snow"]},
        steps=2,
        guidance=3,
    )
    against = generator.sample("a lake", negative_prompt="snow", steps=2, guidance=3)
    torch.testing.assert_close(look.images[1, 1], against[0], atol=1e-4, rtol=0)
    assert look.column_labels == ["nothing", "not: snow"]


def test_the_figure_names_rows_and_columns(generator):
    look = sweep(generator, "a river", {"steps": [1, 2]}, {"cloud_cover": [0.0, 0.5, 1.0]})
    figure = look.figure(provenance="generated · tiny")
    shown = [text.get_text() for axis in figure.axes for text in (axis.title, *axis.texts)]
    assert [text for text in shown if text] == ["0% cloud", "1 steps", "50% cloud", "100% cloud", "2 steps"]


def test_bad_axes_are_named(generator):
    with pytest.raises(ValueError, match="rows and columns both change 'steps'"):
        sweep(generator, "a", {"steps": [1]}, {"steps": [2]})
    with pytest.raises(ValueError, match="rows is one name with its values"):
        sweep(generator, "a", {"steps": [1], "guidance": [2]})
