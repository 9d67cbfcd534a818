import json

import diffusers
import numpy as np
import pytest
import torch

from rs_course import paths
from rs_course.diffusion import pixel, samplers
from rs_course.diffusion.schedules import cosine
from rs_course.diffusion.unet import WEIGHTS, UNet
from rs_course.training import ddpm
from rs_course.training_loop import STATE, Budget, Recipe, linear_decay

SHIPPED = paths.data_dir() / "checkpoints" / "mini-ddpm"
SMALL = {"channels": (16, 16), "blocks": (1, 1, 1), "heads": 2}
needs_weights = pytest.mark.skipif(not SHIPPED.is_dir(), reason="mini-ddpm is not in this checkout")


@pytest.fixture(scope="module")
def tiles():
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), draw.integers(0, 20, 60)


@pytest.fixture(scope="module")
def shipped():
    return pixel.load("mini-ddpm")


def test_shrink_is_the_area_mean():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    got = pixel.shrink(images)
    want = torch.nn.functional.avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).double(), 2)
    assert got.dtype == np.uint8
    assert np.abs(got.transpose(0, 3, 1, 2) - want.numpy()).max() <= 0.5
    with pytest.raises(ValueError, match="give a multiple of 32"):
        pixel.shrink(images[:, :50])


def test_batches_are_functions_of_the_step(tiles):
    stream = ddpm.batches(*tiles, 8, seed=1)(0)
    three = [next(stream) for _ in range(3)]
    x, y = next(ddpm.batches(*tiles, 8, seed=1)(2))
    assert torch.equal(x, three[2][0])
    assert torch.equal(y, three[2][1])
    assert x.shape == (8, 3, 32, 32)
    assert -1 <= x.min() < x.max() <= 1
    dropped = next(ddpm.batches(*tiles, 4000, seed=0)(0))[1] == len(ddpm.CLASSES)
    assert abs(dropped.float().mean() - ddpm.DROP) < 0.02


def test_training_learns_saves_and_goes_on(tiles, tmp_path):
    options = {"batch_size": 4, "model": SMALL}
    ddpm.fit(tmp_path, *tiles, budget=Budget(steps=3), **options)
    ddpm.fit(tmp_path, *tiles, budget=Budget(steps=5), **options)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 5
    model = pixel.load(tmp_path)
    assert model.classes[9:11] == ("SeaLake", "simulated AnnualCrop")
    assert model.sample(["River", 19], steps=2).shape == (2, 3, 32, 32)
    begun_again = ddpm.fit(tmp_path, *tiles, budget=Budget(steps=2), **options, resume=False)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 2
    assert isinstance(begun_again, UNet)


def test_a_training_goes_on_from_the_weights_of_another(tiles, tmp_path):
    options = {"batch_size": 4, "model": SMALL, "ema_decay": 0.0}
    before = ddpm.fit(tmp_path / "one", *tiles, budget=Budget(steps=3), **options)
    options |= {"start": tmp_path / "one", "recipe": Recipe(lr=0.0, decay=linear_decay(0.0))}
    after = ddpm.fit(tmp_path / "two", *tiles, budget=Budget(steps=1), **options)
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)  # they were stored in half precision
    with pytest.raises(ValueError, match="has other layers than the one to train: start without it"):
        ddpm.fit(tmp_path / "three", *tiles, budget=Budget(steps=1), start="mini-ddpm", model=SMALL)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no pixel-space checkpoint 'mini-dppm'"):
        pixel.load("mini-dppm")
    model = pixel.PixelModel(UNet(**SMALL, classes=3), cosine(), ("a", "b"), 16)
    with pytest.raises(ValueError, match="no class 'Rivers'; it knows a, b"):
        model.sample(["Rivers"])
    with pytest.raises(ValueError, match="sampler is 'DPM'; choose one of ddpm"):
        model.sample(["a"], sampler="DPM")
    with pytest.raises(ValueError, match="steps is 0"):
        model.sample(["a"], steps=0)


@needs_weights
def test_shipped_checkpoint_is_small_and_complete(shipped):
    files = {str(file.relative_to(SHIPPED)) for file in SHIPPED.rglob("*") if file.is_file()}
    assert files == {
        "README.md", "metrics.json", "model_index.json", "scheduler/scheduler_config.json",
        "unet/config.json", f"unet/{WEIGHTS}",
    }  # fmt: skip
    assert (SHIPPED / "unet" / WEIGHTS).stat().st_size <= 4e6
    assert sum(p.numel() for p in shipped.unet.parameters()) < 2e6
    assert shipped.classes == ddpm.CLASSES
    assert json.loads((SHIPPED / "metrics.json").read_text())


@needs_weights
def test_tile_does_not_depend_on_its_batch(shipped):
    names = ["River", "Forest", "Industrial", "simulated SeaLake", "Highway"]
    for sampler in ("dpmsolver++", "ddpm"):
        options = {"sampler": sampler, "steps": 5, "guidance": 2.0, "seed": 3}
        whole = shipped.sample(names, **options)
        parts = [shipped.sample(names[:2], **options), shipped.sample(names[2:], start=2, **options)]
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)


@needs_weights
def test_same_tiles_from_the_librarys_scheduler(shipped):
    """The folder's scheduler configuration drives diffusers to the same tiles."""
    scheduler = diffusers.DDIMScheduler.from_pretrained(SHIPPED / "scheduler", clip_sample=False)
    torch.testing.assert_close(
        scheduler.alphas_cumprod.double(), shipped.schedule.alpha_bar, rtol=1e-4, atol=1e-7
    )
    scheduler.set_timesteps(10)
    labels, x = shipped.labels(["River", "Forest"]), shipped.noise(2)
    from rs_course.diffusion.process import denoiser

    free = denoiser(lambda xt, t: shipped.unet(xt, t, labels), shipped.schedule, prediction_type="v")
    want = samplers.final(samplers.ddim(free, x, shipped.schedule, steps=10))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(shipped.unet(x, t.expand(2), labels), t, x).prev_sample
    torch.testing.assert_close(x, want, atol=1e-4, rtol=0)


@needs_weights
def test_classes_look_like_themselves(shipped):
    """Coarse facts that any usable checkpoint meets, in both looks: brightness and texture."""
    for look in ("", "simulated "):
        wanted = [look + name for name in ("Forest", "Industrial", "SeaLake")]
        tiles = shipped.sample([name for name in wanted for _ in range(6)], steps=12, guidance=1.5)
        tiles = tiles.view(3, 6, 3, 32, 32)
        brightness, texture = tiles.mean((1, 2, 3, 4)), tiles.std((3, 4)).mean((1, 2))
        assert brightness[1] > brightness[0]
        assert texture[1] > 2 * texture[0]
        assert texture[1] > 2 * texture[2]
