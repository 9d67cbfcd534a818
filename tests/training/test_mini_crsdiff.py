"""mini-crsdiff's training: it starts as the generator it stands on, and writes what ``load`` reads."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from rs_course import checkpoints
from rs_course.checkpoints.prompts import CRSDIFF, metadata_rows, normalize_metadata
from rs_course.training import crsdiff, latent, training_sets
from rs_course.training_loop import Budget


def test_scenes_hold_the_maps_that_the_simulator_states(mapped_scenes):
    scenes = mapped_scenes
    from rs_course.checkpoints import maps as extract
    from rs_course.simulated_earth import CLASSES, scene

    assert [part.shape[1:] for part in scenes[:4]] == [
        (64, 64, 3), (64, 64, 3), (3, 128, 128), (3, 64, 64),
    ]  # fmt: skip
    row = scenes.metadata[3]
    day = (row["year"], row["month"], row["day"])
    told = {key: row[key] for key in ("lat", "cloud_cover", "gsd")}
    one = scene(CLASSES[3], 300_000, date=day, **told)
    assert np.array_equal(one.image, scenes.images[3])
    stack = training_sets.condition_maps(scenes.truth[3:4], scenes.filtered[3:4])
    true = extract.maps_of_scene(one, 128)
    for k, name in enumerate(("road", "depth", "segmentation"), start=3):
        torch.testing.assert_close(stack[:, 3 * k : 3 * k + 3], true[name], atol=1 / 500, rtol=0)
    assert scenes.other_metadata[3] != row and scenes.other_metadata[3]["lon"] == row["lon"]


def test_the_map_encoder_starts_as_the_unets_encoder(sat_unet):
    network = crsdiff.Denoiser(sat_unet)
    opened = copy.deepcopy(network.local_adapter)
    for zero_conv in (*(block[0] for block in opened.zero_convs), opened.middle_block_out[0]):
        torch.nn.init.dirac_(zero_conv.weight)
    for zero_conv in opened.feature_extractor.zero_convs:
        torch.nn.init.zeros_(zero_conv.weight)
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 32)
    theirs = []
    hooks = [sat_unet.conv_in.register_forward_hook(lambda m, i, o: theirs.append(o))]
    hooks += [b.register_forward_hook(lambda m, i, o: theirs.extend(o[1])) for b in sat_unet.down_blocks]
    hooks += [sat_unet.mid_block.register_forward_hook(lambda m, i, o: theirs.append(o))]
    with torch.no_grad():
        sat_unet(x, t, states)
        ours = opened(x, t, states, torch.rand(2, 18, 128, 128))
    for hook in hooks:
        hook.remove()
    assert len(ours) == len(theirs) == 5
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_before_training_maps_change_nothing(sat_unet):
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 32)
    network = crsdiff.Denoiser(sat_unet)
    content, metadata = torch.randn(1, 32), torch.zeros(1, 7)
    with torch.no_grad():
        drawn, black = (
            network(x, t, maps, states[:1], content, metadata)
            for maps in (torch.rand(1, 18, 128, 128), torch.zeros(1, 18, 128, 128))
        )
    assert torch.equal(drawn, black)


def test_the_metadata_vector_starts_as_the_unets(sat_unet):
    def theirs(row):
        return sat_unet.metadata_embedding.vector(row, sat_unet.time_proj, torch.float32)

    vector = crsdiff.metadata_like(sat_unet)
    unknown = theirs(torch.zeros(1, 7))
    row = {"lon": 12.0, "lat": 47.0, "cloud_cover": 0.3, "month": 7, "day": 15}
    wanted = theirs(normalize_metadata(**row)[None]) - unknown
    got = vector(metadata_rows(row, CRSDIFF))
    assert (got - wanted).norm() < 0.25 * wanted.norm()
    assert vector(torch.zeros(1, 7)).norm() < 0.05 * wanted.norm()


def test_maps_are_left_out_as_published_and_more_often_given_alone():
    kept = crsdiff.kept_maps(20_000, np.random.default_rng(0)).numpy().astype(bool)
    found, drawn = kept[:, :3], kept[:, 3:]
    none_found = 0.6 + 0.4 * 0.6 * 0.5**2
    several = 0.8 * 0.6  # neither all, none nor a single one by decision
    assert kept.all(axis=1).mean() == pytest.approx(0.1 + several * 0.4 * 0.4 * 0.5**5, abs=0.01)
    assert (~kept).all(axis=1).mean() == pytest.approx(0.1 + several * none_found * 0.5**3, abs=0.01)
    assert found[:, 0].mean() == pytest.approx(0.1 + several * 0.4 * 0.4, abs=0.015)
    assert drawn[:, 0].mean() == pytest.approx(0.1 + several * 0.5 + 0.8 * 0.4 * 0.6, abs=0.015)
    assert (drawn.any(axis=1) & ~found.any(axis=1)).mean() > 0.5  # what people bring
    alone = kept[:, 3] & (kept.sum(axis=1) == 1)
    assert alone.mean() == pytest.approx(0.8 * 0.4 * 0.6 + several * none_found * 0.5**3, abs=0.015)


def test_errors_on_given_roads_count_more():
    maps = torch.zeros(2, 18, 128, 128)
    maps[1, 9:12, 40] = 1.0  # a road through the fifth row of latent pixels
    maps[0, :9] = maps[0, 12:] = 1.0
    weights = crsdiff.on_roads(maps, None)
    assert weights.shape == (2 * crsdiff.DRAWS, 1, 16, 16)
    assert (weights[0] == 1).all() and torch.equal(weights[1], weights[3])
    assert (weights[1, 0, 5] == crsdiff.ROAD_WEIGHT).all()
    assert weights[1].sum() == 240 + 16 * crsdiff.ROAD_WEIGHT


def test_a_batch_is_a_function_of_seed_and_number(mapped_scenes, texts):
    encoded, content = torch.randn(6, 4, 16, 16), torch.randn(6, 32)
    batches = crsdiff.batches(mapped_scenes, encoded, content, texts, 0, batch_size=4)
    first = batches(0)
    next(first)
    for one, other in zip(next(first), next(batches(1)), strict=True):
        assert torch.equal(one, other)


def test_training_writes_a_checkpoint_that_obeys_other_maps_differently(
    tmp_path, sat_unet, mapped_scenes, texts
):
    from checkpoints.tiny import write_checkpoint

    base = write_checkpoint(tmp_path / "base")
    encoded, content = torch.randn(6, 4, 16, 16), torch.randn(6, 32)
    network = crsdiff.Denoiser(sat_unet)
    before = copy.deepcopy(sat_unet.state_dict())
    sat_unet.save_pretrained(tmp_path / "unet")
    folders = {part: base / part for part in ("vae", "text_encoder", "tokenizer")}
    latent.fit(
        tmp_path / "mini",
        network,
        crsdiff.batches(mapped_scenes, encoded, content, texts, 0, batch_size=2),
        lambda network, out: crsdiff.save(network, out, {**folders, "unet": tmp_path / "unet"}),
        budget=Budget(steps=8),
        recipe=replace(latent.RECIPE, lr=1e-2),
        loss_weight=crsdiff.on_roads,
        sample_grid=crsdiff.as_mapped(mapped_scenes),
    )
    assert list((tmp_path / "mini" / "samples").glob("*.png"))
    assert all(torch.equal(value, sat_unet.state_dict()[key]) for key, value in before.items())
    generator = checkpoints.load(tmp_path / "mini")
    assert generator.family == "crsdiff"
    road = torch.zeros(1, 3, 64, 64)
    road[..., 28:36, :] = 1
    options = {"steps": 2, "guidance": 1, "size": (32, 32), "output": "latent"}
    with_road, without = (generator.sample("", conditions={"road": m}, **options) for m in (road, 0 * road))
    assert (with_road - without).abs().max() > 1e-5
