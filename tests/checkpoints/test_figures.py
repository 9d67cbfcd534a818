"""The architecture figures say what is in the checkpoint."""

import matplotlib
import pytest
import torch
from checkpoints.tiny import write_checkpoint, write_crsdiff

matplotlib.use("agg")

from matplotlib import pyplot as plt

from rs_course import checkpoints
from rs_course.checkpoints import figures

NEW = {
    "stable-diffusion": [],
    "diffusionsat": ["7 × (sinusoid, MLP)"],
    "text2earth": ["sinusoid, MLP"],
    "text2earth-inpainting": ["sinusoid, MLP", "VAE encoder"],
    "crsdiff": ["content adapter", "7 × (sinusoid, linear)", "map encoder"],
}


@pytest.fixture(scope="module", params=NEW)
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / request.param
    written = write_crsdiff(folder) if request.param == "crsdiff" else write_checkpoint(folder, request.param)
    return request.param, checkpoints.load(written)


def test_what_is_new_is_marked_and_counted(loaded):
    family, checkpoint = loaded
    ways = figures.ways_in(checkpoint)
    assert [way.part for way in ways if way.new] == NEW[family]
    by_part = {way.part: way.parameters for way in ways if way.new and way.parameters}
    stated = {
        "diffusionsat": lambda c: [c.unet.metadata_embedding],
        "crsdiff": lambda c: [c.content_adapter, c.metadata_embedding, c.controlnet],
    }.get(family, lambda c: [c.unet.class_embedding] if c.unet.class_embedding is not None else [])
    assert list(by_part.values()) == [figures.count(part) for part in stated(checkpoint)]


def test_the_shapes_are_those_that_reach_the_unet(loaded):
    _, checkpoint = loaded
    seen = {}
    hook = checkpoint.unet.conv_in.register_forward_pre_hook(lambda m, x: seen.update(x=x[0]))
    blank = torch.full((1, 3, 16, 16), 0.5)
    edit = {"image": blank, "mask": blank[:, :1]} if checkpoint.unet.config.in_channels == 9 else {}
    checkpoint.sample("a", steps=1, guidance=1, **edit)
    hook.remove()
    channels = sum(
        int(way.becomes.split(" × ")[0]) for way in figures.ways_in(checkpoint) if way.door == "input"
    )
    assert seen["x"].shape[1] == channels


def test_residuals_are_counted_as_the_map_encoder_gives_them(loaded):
    family, checkpoint = loaded
    ways = [way for way in figures.ways_in(checkpoint) if way.door == "skips"]
    if family != "crsdiff":
        assert not ways
        return
    given = []
    checkpoint.controlnet.register_forward_hook(lambda m, x, y: given.append(len(y)))
    checkpoint.sample("a", steps=1, guidance=1)
    assert [way.becomes for way in ways] == [f"{given[0]} residuals"]


def test_the_figure_is_drawn_with_every_way(loaded):
    family, checkpoint = loaded
    figure = figures.architecture(checkpoint, provenance="computed · tiny")
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert all(way.source in shown for way in figures.ways_in(checkpoint))
    assert figure.axes[0].get_title(loc="left") == family or figure.axes[0].get_title() == family
    plt.close(figure)


def test_a_skip_joins_blocks_of_one_size(loaded):
    _, checkpoint = loaded
    rows = figures.unet_shapes(checkpoint, "a river")
    assert [name for name, *_ in rows][:: len(rows) - 1] == ["first conv", "last conv"]
    assert all(a[1][1:] == b[1][1:] for a, b in zip(rows, reversed(rows), strict=True))
    assert len({shape[1:] for _, shape, _ in rows}) > 1
    blocks = [*checkpoint.unet.down_blocks, checkpoint.unet.mid_block, *checkpoint.unet.up_blocks]
    assert [reads for *_, reads in rows[1:-1]] == [hasattr(block, "attentions") for block in blocks]
    plt.close(figures.unet_figure(checkpoint, "a river", provenance="computed · tiny"))
