"""Condition pictures and their metadata in every form a caller may hold them."""

import pytest
import torch
from checkpoints.tiny import write_checkpoint, write_controlnet, write_crsdiff, write_model
from PIL import Image

from rs_course import checkpoints
from rs_course.checkpoints.export import write_checkpoint as write_clean
from rs_course.checkpoints.images import images

PLACE = {"lon": 8.4, "lat": 49.0, "gsd": 10.0, "cloud_cover": 0.1, "year": 2020, "month": 7, "day": 1}
ROWS = [{**PLACE, "year": year} for year in (2015, 2018, 2021)]
PICTURES = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
NUMBERS = torch.stack([checkpoints.normalize_metadata(**row) for row in ROWS])  # [3, 7]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    wide = {"block_out_channels": [32, 32]}
    write_checkpoint(root / "base")
    write_checkpoint(root / "wide", unet=wide)
    write_controlnet(root / "one")
    write_controlnet(root / "stack", conditioning_in_channels=9)
    write_controlnet(root / "bands", conditioning_in_channels=10, conditioning_scale=2)
    write_controlnet(root / "temporal", temporal=True, use_temporal_transformer=True, **wide)
    return root


def drawer(root, net, base="base"):
    generator = checkpoints.load(root / base, controlnet=root / net)
    return lambda prompts="a", **arguments: generator.sample(prompts, steps=1, output="latent", **arguments)


def pil(pictures):
    return [Image.fromarray((p * 255).round().byte().permute(1, 2, 0).numpy()) for p in pictures]


def same(a, b) -> bool:
    return torch.allclose(a, b, atol=1e-5)


def test_several_images_stacked_in_the_channels(root):
    draw = drawer(root, "stack")
    want = draw(image=PICTURES[:3].flatten(0, 1)[None], cond_metadata=NUMBERS.T)
    for image in (
        pil(PICTURES[:3]),
        [pil(PICTURES[:3])],
        PICTURES[:3],
        PICTURES[None, :3],
        PICTURES[:3].numpy(),
    ):
        assert same(draw(image=image, cond_metadata=NUMBERS.T), want)
    for rows in (ROWS, [ROWS], NUMBERS.T[None], NUMBERS, NUMBERS.T.numpy()):
        assert same(draw(image=PICTURES[:3], cond_metadata=rows), want)
    two = draw(["a", "a"], image=[pil(PICTURES[:3]), pil(PICTURES[3:])], cond_metadata=ROWS)
    assert same(two[:1], want) and not same(two[1:], want)
    assert same(draw(["a", "a"], image=PICTURES, cond_metadata=[ROWS, ROWS]), two)
    with pytest.raises(ValueError, match="this ControlNet takes 9"):
        draw(image=PICTURES[:2])


def test_a_sequence(root):
    draw = drawer(root, "temporal", "wide")
    want = draw(image=PICTURES[:3].transpose(0, 1)[None], cond_metadata=NUMBERS.T)
    for image in (pil(PICTURES[:3]), [pil(PICTURES[:3])], PICTURES[:3], PICTURES[:3].flatten(0, 1)[None]):
        assert same(draw(image=image, cond_metadata=ROWS), want)
    two = draw(["a", "a"], image=[pil(PICTURES[:3]), pil(PICTURES[3:])], cond_metadata=[ROWS, ROWS])
    whole = (
        (PICTURES.unflatten(0, (2, 3)) * 255).round().byte().permute(0, 1, 3, 4, 2)
    )  # uint8 [B, T, H, W, 3]
    assert same(draw(["a", "a"], image=whole.numpy(), cond_metadata=[ROWS, ROWS]), two)
    assert same(two[:1], want) and not same(two[1:], want)
    short = draw(image=PICTURES[:2], cond_metadata=PLACE)  # two frames, the same metadata for both
    assert same(short, draw(image=PICTURES[:2], cond_metadata=[PLACE, PLACE]))
    assert not same(short, draw(image=PICTURES[:2]))


def test_one_image_per_prompt_or_one_for_all(root):
    draw = drawer(root, "one")
    shared = draw(["a", "b"], image=PICTURES[0], cond_metadata=PLACE)
    assert same(shared, draw(["a", "b"], image=PICTURES[[0, 0]], cond_metadata=[PLACE, PLACE]))
    assert same(shared, draw(["a", "b"], image=pil(PICTURES[[0, 0]]), cond_metadata=[[PLACE], [PLACE]]))
    assert not same(shared, draw(["a", "b"], image=PICTURES[:2], cond_metadata=PLACE))
    alone = draw("a", image=PICTURES[0])
    assert alone.shape == (1, 4, 8, 8)  # the size follows from the condition
    odd = draw("a", image=images(pil(PICTURES[:1]), size=(50, 66)))
    assert odd.shape == (1, 4, 6, 8)  # rounded down to the latent grid


def test_conditions_are_resized_to_what_the_net_expects(root):
    draw = drawer(root, "one")
    picture = pil(PICTURES[:1])[0]
    assert same(draw(image=picture, size=(8, 12)), draw(image=images(picture, size=(32, 48)), size=(8, 12)))
    bands = torch.rand(1, 10, 32, 32, generator=torch.Generator().manual_seed(1))
    by_bands = drawer(root, "bands")
    assert same(by_bands(image=bands), by_bands(image=bands[0].numpy()))
    assert by_bands(image=torch.nn.functional.interpolate(bands, size=64), size=(16, 16)).shape == (
        1,
        4,
        8,
        8,
    )
    with pytest.raises(ValueError, match="this ControlNet takes 10"):
        by_bands(image=bands[:, :7])


def test_strength_of_control(root):
    draw = drawer(root, "one")
    plain = checkpoints.load(root / "base").sample("a", steps=1, output="latent")
    picture = {"image": PICTURES[0], "size": (16, 16)}
    assert same(draw(control_strength=0.0, **picture), plain)
    distances = [(draw(control_strength=s, **picture) - plain).norm() for s in (0.1, 0.5)]
    assert 0 < distances[0] < distances[1]


def test_pictures_in_any_form():
    picture = pil(PICTURES[:1])[0]
    want = PICTURES[:1]
    for form in (
        picture,
        [picture],
        PICTURES[0],
        want,
        want[0].permute(1, 2, 0).numpy(),
        picture.convert("RGBA"),
    ):
        assert torch.allclose(images(form), want, atol=1e-6)
    grey = images(picture.convert("L"))
    assert grey.shape == (1, 3, 64, 64) and torch.equal(grey[:, 0], grey[:, 2])
    assert torch.equal(images(torch.eye(4, dtype=torch.bool), mode="L")[0, 0], torch.eye(4))
    for mistake, message in {"path.png": "must be a PIL image", 3: "not int"}.items():
        with pytest.raises(TypeError, match=message):
            images(mistake)
    with pytest.raises(ValueError, match="several sizes"):
        images([picture, picture.resize((8, 8))])
    with pytest.raises(ValueError, match="is an empty list"):
        images([])


def test_crsdiff_takes_any_subset(tmp_path):
    generator = checkpoints.load(write_crsdiff(tmp_path / "crsdiff"))
    draw = lambda **arguments: generator.sample("a", steps=1, output="latent", **arguments)  # noqa: E731
    road = torch.zeros(1, 3, 16, 16)
    road[..., 8] = 1
    black, nothing = torch.zeros(1, 3, 16, 16), draw()
    assert nothing.shape == (1, 4, 8, 8)
    assert same(draw(conditions={"road": black}), nothing)  # an absent map is a black map
    assert not same(draw(conditions={"road": road}), nothing)
    assert not same(draw(conditions={"road": road}), draw(conditions={"depth": road}))
    content = torch.linspace(-1, 1, 32)
    assert not same(draw(conditions={"content": content}), nothing)
    behind = torch.cat([content, torch.ones(32)])[
        None
    ]  # the published code's second half, which has no effect
    assert same(draw(conditions={"content": content}), draw(conditions={"content": behind}))
    assert not same(draw(metadata=PLACE), nothing)
    assert not same(draw(conditions={"road": road}, control_strength=0.3), draw(conditions={"road": road}))
    assert not same(draw(content_strength=0.0), nothing)  # absence of content is learned, too
    assert same(draw(control_strength=[1.0] * 5), nothing)
    with pytest.raises(ValueError, match="has 2 values for 5 residuals"):
        draw(control_strength=[1.0, 0.5])
    twice = generator.sample(
        ["a", "b"], steps=1, conditions={"road": torch.cat([road, black])}, output="latent"
    )
    assert same(twice[:1], draw(conditions={"road": road}))
    assert same(draw(guidance=1.0, metadata=PLACE), draw(guidance=1.0, metadata=PLACE, negative_prompt="b"))
    for message, conditions in {
        "no entry 'roads'": {"roads": road},
        "several sizes": {"road": road, "depth": torch.zeros(1, 3, 8, 8)},
        r"feature \[N, 32\]": {"content": torch.ones(5)},
        "has no CLIP image tower": {"content": road},
        "not Tensor": road,
    }.items():
        with pytest.raises((ValueError, TypeError), match=message):
            draw(conditions=conditions)
    with pytest.raises(ValueError, match="multiples of 16"):
        draw(size=(24, 24))


def test_content_as_a_picture(tmp_path):
    """A CLIP model beside the checkpoint turns a content picture into the feature."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = write_crsdiff(tmp_path / "crsdiff")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {**tower, "image_size": 16, "patch_size": 8, "projection_dim": 32}
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    whole = {"model_type": "clip", "vision_config": config, "projection_dim": 32}
    write_model(folder / "image_encoder", clip, whole, "clip", "model.safetensors")
    generator = checkpoints.load(folder)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features = generator.read_content(pictures)
    assert features.shape == (2, 32)
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    )
    want = generator.image_encoder((pictures - mean) / std).image_embeds
    assert torch.allclose(features, want, atol=1e-5)
    ask = {"steps": 1, "output": "latent"}
    by_picture = generator.sample("a", conditions={"content": pictures[:1]}, **ask)
    assert same(by_picture, generator.sample("a", conditions={"content": features[:1]}, **ask))
    assert not same(by_picture, generator.sample("a", **ask))
    write_clean(generator, tmp_path / "clean")
    again = checkpoints.load(tmp_path / "clean").sample("a", conditions={"content": pictures[:1]}, **ask)
    assert same(again, by_picture)
