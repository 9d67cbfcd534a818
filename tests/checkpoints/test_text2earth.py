"""Text2Earth and its inpainting model equal their official code, through the public interface."""

import re

import pytest
import torch
from checkpoints.golden import cases, golden
from PIL import Image

from rs_course import checkpoints
from rs_course.sampling import trajectory

SAMPLERS = {"Euler": "euler", "DPMSolver": "dpmsolver++", "DDIM": "ddim", "pipeline default": None}
SETS = {"text2earth": "text2earth", "text2earth_inpaint": "text2earth-inpainting"}


@pytest.fixture(scope="module")
def generators():
    return {name: checkpoints.load(golden(name).folder) for name in SETS}


def arguments_of(fixture, case):
    """What the case asks for, and its random numbers: a generator in the official order of draws."""
    sampler = next(name for start, name in SAMPLERS.items() if case["scheduler"].startswith(start))
    seed = re.search(r"manual_seed\((\d+)\)", case.get("generator", ""))
    return {
        "steps": case["num_inference_steps"],
        "guidance": case["guidance_scale"],
        "sampler": sampler,
        "size": (case["height"], case["width"]),
        "negative_prompt": case.get("negative_prompt"),
        "strength": case.get("strength", 1.0),
        "latents": fixture[case["latents"]] if "latents" in case else None,
        "image": Image.fromarray(fixture[case["image"]].numpy()) if "image" in case else None,
        "mask": Image.fromarray(fixture[case["mask"]].numpy()) if "mask" in case else None,
        "seed": torch.Generator().manual_seed(int(seed[1])) if seed else 0,
    }


@pytest.mark.parametrize("name", SETS)
def test_family_and_scheduler(generators, name):
    """The class is the one that model_index.json names, not the one inside scheduler_config.json."""
    generator = generators[name]
    assert generator.family == SETS[name]
    assert type(generator.scheduler).__name__ == golden(name).info["config"]["sched"]
    assert generator.unet.dtype == torch.float32  # stored as float16


def test_text(generators):
    fixture, generator = golden("text2earth"), generators["text2earth"]
    described = fixture.info["arrays_by_case"]["text"]["input_ids"]
    texts = re.findall(r"'([^']*)'", described[described.index("[") :])
    ids = generator.tokenizer(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    assert torch.equal(ids.input_ids, fixture["text/input_ids"])
    states = generator.text_encoder(ids.input_ids)[0]
    fixture.close("text", "states", states, "text/last_hidden_state")


def test_unet_with_levels(generators):
    fixture, unet = golden("text2earth"), generators["text2earth"].unet
    levels = fixture["unet/class_labels"]
    fixture.close("unet", "level sinusoid", unet.time_proj(levels), "unet/class_proj")
    fixture.close("unet", "level embedding", unet.class_embedding(unet.time_proj(levels)), "unet/class_emb")
    inputs = [fixture[f"unet/{name}"] for name in ("sample", "timestep", "encoder_hidden_states")]
    fixture.close("unet", "output", unet(*inputs, class_labels=levels).sample, "unet/out")


@pytest.mark.parametrize("resized", [False, True])
def test_mask_and_masked_picture(generators, resized):
    """Soft masks stay soft; the picture is hidden where the mask is at least one half."""
    from rs_course.checkpoints.images import images

    fixture = golden("text2earth_inpaint")
    prep, suffix = ("prep_resized", "_big") if resized else ("prep_same", "")
    size = tuple(fixture[f"{prep}/image"].shape[-2:])
    picture = images(Image.fromarray(fixture[f"inputs/image{suffix}"].numpy()), size=size)
    mask = images(Image.fromarray(fixture[f"inputs/mask{suffix}"].numpy()), mode="L", size=size)
    fixture.close(prep, "picture", picture * 2 - 1, f"{prep}/image", 1e-6)
    fixture.close(prep, "mask", mask, f"{prep}/mask", 1e-6)
    vae = generators["text2earth_inpaint"].vae
    if not resized:
        posterior = vae.encode(fixture["prep_same/masked_image"]).latent_dist
        fixture.close("vae", "mean", posterior.mean, "vae/masked_image_mean")
        fixture.close("vae", "logvar", posterior.logvar, "vae/masked_image_logvar")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, *param.values, id=f"{name}-{param.id}", marks=param.marks)
        for name in SETS
        for param in cases(name, "arrays_by_case")
    ],
)
def test_sample(generators, name, case):
    fixture, generator, key = golden(name), generators[name], case["name"]
    seen = []
    hook = generator.unet.register_forward_hook(
        lambda module, args, kwargs, out: seen.append((args, kwargs, out[0])), with_kwargs=True
    )
    steps = list(trajectory(generator, case["prompt"], **arguments_of(fixture, case)))
    hook.remove()
    (sample, _, text), options, out = seen[0]
    assert [step.t for step in steps] == pytest.approx(fixture[f"{key}/timesteps"].tolist())
    assert options["class_labels"].tolist() == fixture[f"{key}/unet_class_labels"].tolist()
    fixture.close(key, "text states", text, f"{key}/unet_encoder_hidden_states")
    fixture.close(key, "unet input", sample, f"{key}/unet_in_step0")
    fixture.close(key, "unet output", out, f"{key}/unet_out_step0")
    fixture.close(key, "every step", torch.stack([s.latents for s in steps]), f"{key}/latents_per_step")
    latents = generator.sample(case["prompt"], output="latent", **arguments_of(fixture, case))
    fixture.close(key, "final latents", latents, f"{key}/final_latents", 1e-3)
    decoded = generator.vae.decode(latents / generator.vae.config.scaling_factor).sample
    fixture.close(key, "decoded", decoded, f"{key}/decoded_raw", 1e-3)
    pictures = generator.sample(case["prompt"], **arguments_of(fixture, case))
    fixture.close_grey(key, pictures, f"{key}/image_uint8")


def test_picture_and_mask_in_any_form(generators):
    """The case without random numbers, with picture and mask as arrays, tensors and batches."""
    fixture, generator = golden("text2earth_inpaint"), generators["text2earth_inpaint"]
    case = fixture.info["arrays_by_case"]["inpaint_given_masked_latents"]
    picture, mask = fixture[case["image"]], fixture[case["mask"]]
    forms = {
        "uint8": (picture, mask),
        "array": (picture.numpy(), mask.numpy()),
        "float": (picture.permute(2, 0, 1)[None] / 255, mask[None, None] / 255),
        "RGB mask": (picture.permute(2, 0, 1) / 255, mask[..., None].expand(-1, -1, 3)),
        "list": ([Image.fromarray(picture.numpy())], [Image.fromarray(mask.numpy())]),
    }
    for form in forms.values():
        arguments = arguments_of(fixture, case) | {"image": form[0], "mask": form[1]}
        latents = generator.sample(case["prompt"], output="latent", **arguments)
        fixture.close(
            "pictures in any form",
            "final latents",
            latents,
            f"{case_name(case, fixture)}/final_latents",
            1e-3,
        )


def case_name(case, fixture) -> str:
    return next(key for key, value in fixture.info["arrays_by_case"].items() if value is case)
