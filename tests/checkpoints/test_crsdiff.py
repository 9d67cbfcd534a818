"""CRS-Diff equals its official code, through the public interface."""

import pytest
import torch
from checkpoints.golden import golden
from PIL import Image

from rs_course import checkpoints
from rs_course.checkpoints.crsdiff import MAPS
from rs_course.sampling import trajectory


@pytest.fixture(scope="module")
def fixture():
    return golden("crsdiff")


@pytest.fixture(scope="module")
def settings(fixture):
    return fixture.info["settings"]


@pytest.fixture(scope="module")
def generator(fixture):
    return checkpoints.load(fixture.folder)


@pytest.fixture(scope="module")
def prompt(settings):
    return f"{settings['prompt']}, {settings['aprompt']}"


@pytest.fixture(scope="module")
def conditions(fixture):
    return {
        **dict(zip(MAPS, fixture["cond/maps_uint8"], strict=True)),
        "content": fixture["cond/global_control"],
    }


class RecordedNoise:
    """The noise of a recorded run, as a source for ``seed=``."""

    def __init__(self, noise):
        self.noise = noise

    def initial(self, shape, start):
        raise AssertionError("latents are given")

    def step(self, shape, start, k):
        return self.noise[k]


def test_loads_from_the_file_as_well(fixture, generator):
    other = checkpoints.load(fixture.folder / "last.ckpt")
    assert other.family == generator.family == "crsdiff"
    assert other.unet.dtype == torch.float32  # stored as float8


def test_metadata(fixture, generator):
    normalised = fixture["cond/metadata_norm"][None]
    embedding = generator.metadata_embedding
    fixture.close("metadata", "sinusoid", embedding.sinusoid(normalised).flatten(1), "meta/sinusoidal")
    fixture.close("metadata", "vector", embedding(normalised), "meta/emb")


def test_text(fixture, generator, settings, prompt):
    texts = [prompt, settings["nprompt"], ""]
    ids = generator.tokenizer(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    assert torch.equal(ids.input_ids, fixture["text/input_ids"])
    fixture.close("text", "states", generator.text_encoder(ids.input_ids)[0], "text/embeddings")


def test_content_tokens(fixture, generator):
    content = fixture["cond/global_control"].chunk(2, dim=1)[0]
    fixture.close("content", "tokens", generator.content_adapter(content), "global/content_tokens")
    none = torch.zeros_like(content[:1])
    fixture.close(
        "content", "tokens of absence", generator.content_adapter(none), "global/content_tokens_zero"
    )


def test_map_encoder(fixture, generator):
    maps = fixture["cond/local_control"]
    for i, feature in enumerate(generator.controlnet.features(maps)):
        fixture.close("maps", "features", feature, f"local/feature_{i}")
    x, t, context = fixture["unet/x"], fixture["unet/t"], fixture["unet/context"]
    residuals = generator.controlnet(x, t, context, maps.expand(len(x), -1, -1, -1))
    for i, residual in enumerate(residuals):
        fixture.close("maps", "residuals", residual, f"adapter/out_{i:02d}")


def test_vae(fixture, generator):
    vae = generator.vae
    decoded = vae.decode(fixture["vae/z"] / vae.config.scaling_factor).sample
    fixture.close("vae", "decoded", decoded, "vae/decoded")
    posterior = vae.encode(fixture["vae/image"].float()).latent_dist
    fixture.close("vae", "mean", posterior.mean, "vae/mean")
    fixture.close("vae", "logvar", posterior.logvar, "vae/logvar")


ABLATIONS = {
    "eps_cond": {},
    "eps_cond_nolocal": {"maps": False},
    "eps_cond_nometa": {"metadata": False},
    "eps_cond_gstr0": {"content_strength": 0.0},
    "eps_cond_scale05": {"control_strength": 0.5},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_noise_prediction(fixture, generator, settings, prompt, conditions, name):
    """One step of ``sample`` from the golden latents at the golden time: maps, metadata and strengths really
    act.
    """
    change = ABLATIONS[name]
    from rs_course.checkpoints.families import FAMILIES

    family, x = FAMILIES["crsdiff"], fixture["unet/x"]
    given = dict(conditions) if change.get("maps", True) else {"content": conditions["content"]}
    metadata = fixture["cond/metadata_norm"] if change.get("metadata", True) else None
    empty = {"image": None, "cond_metadata": None}
    rows = family.read(generator, [prompt] * len(x), metadata=metadata, conditions=given, **empty)
    rows = {**rows, "maps": rows.get("maps", torch.zeros_like(fixture["cond/local_control"]))}
    rows = {key: v if isinstance(v, list) else v.expand(len(x), *v.shape[1:]) for key, v in rows.items()}
    halves = {f"unet/{name}": rows}
    if name == "eps_cond":
        halves["unet/eps_uncond"] = {**family.unconditional(rows), "text": [settings["nprompt"]] * len(x)}
    with torch.no_grad():
        for key, half in halves.items():
            encoded = family.encode(generator, half, change.get("content_strength", settings["gstr"]))
            t = fixture["unet/t"]
            got = family.predict(generator, x, t, encoded, change.get("control_strength", 1.0))
            fixture.close("noise prediction", key.removeprefix("unet/"), got, key)


def test_sample_with_everything(fixture, generator, settings, prompt, conditions):
    year, month, day, gsd, cloud, lat, lon = fixture["cond/metadata_raw"].tolist()
    stated = {"year": year, "month": month, "day": day, "gsd": gsd, "lat": lat, "lon": lon}
    stated["cloud_cover"] = cloud / 100
    arguments = {
        "conditions": conditions,
        "negative_prompt": settings["nprompt"],
        "steps": settings["steps"],
        "guidance": settings["scale"],
        "eta": settings["eta"],
        "content_strength": settings["gstr"],
        "latents": fixture["ddim_full/x_T"],
        "seed": RecordedNoise(fixture["ddim_full/noise"]),
    }
    steps = list(trajectory(generator, prompt, metadata=stated, **arguments))
    assert [step.t for step in steps] == fixture["ddim_full/timesteps"].tolist()
    for metadata in (stated, fixture["cond/metadata_norm"]):
        latents = generator.sample(prompt, metadata=metadata, output="latent", **arguments)
        fixture.close("all conditions", "final latents", latents, "ddim_full/final", 1e-3)
    pictures = generator.sample([prompt] * 2, metadata=stated, **arguments)
    fixture.close_grey("all conditions", pictures, "ddim_full/image_uint8")


def test_sample_with_a_road_map_only(fixture, generator, settings, prompt):
    road = fixture["single/road_uint8"]
    arguments = {
        "negative_prompt": settings["nprompt"],
        "steps": settings["s1"],
        "guidance": settings["scale"],
        "latents": fixture["ddim_single/x_T"],
    }
    forms = {
        "PIL": Image.fromarray(road.numpy()),
        "uint8": road,
        "float": road.permute(2, 0, 1)[None] / 255,
        "grey": road[..., 0].numpy(),
    }
    latents = generator.sample(prompt, conditions={"road": road}, output="latent", **arguments)
    fixture.close("road map only", "final latents", latents, "ddim_single/final", 1e-3)
    once = {"steps": 1, "output": "latent"}
    for form in forms.values():
        assert torch.equal(
            generator.sample(prompt, conditions={"road": form}, **once),
            generator.sample(prompt, conditions={"road": road}, **once),
        )
    steps = list(trajectory(generator, prompt, conditions={"road": road}, **arguments))
    assert [step.t for step in steps] == fixture["ddim_single/timesteps"].tolist()
    pictures = generator.sample(prompt, conditions={"road": road}, **arguments)
    fixture.close_grey("road map only", pictures, "ddim_single/image_uint8")


def test_noise_schedule(fixture, generator):
    acp = generator.scheduler.alphas_cumprod
    ascending = fixture["ddim_full/timesteps"].flip(0)
    fixture.close("schedule", "alphas", acp[ascending], "ddim_full/alphas")
    previous = torch.cat([acp[:1], acp[ascending[:-1]]])
    fixture.close("schedule", "alphas", previous, "ddim_full/alphas_prev")
