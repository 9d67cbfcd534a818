"""DiffusionSat equals its official code, through the public interface."""

import shutil

import pytest
import torch
from checkpoints.golden import cases, golden, recipe
from PIL import Image

from rs_course import checkpoints

SAMPLERS = {"DDIM": None, "UniPCMultistepScheduler": "unipc", "EulerDiscreteScheduler": "euler"}


@pytest.fixture(scope="module")
def fixture():
    return golden("diffusionsat")


@pytest.fixture(scope="module")
def generator(fixture):
    return checkpoints.load(fixture.folder)


@pytest.fixture(scope="module")
def built(fixture, tmp_path_factory):
    """Folder with the models whose weights the fixture's formula gives, and a pipeline around ``unet3d``."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(fixture.folder / "recipe_models", folder, dirs_exist_ok=True)
    for model in folder.iterdir():
        model.chmod(0o755)
        recipe(fixture.folder).materialize(str(model))
    shutil.copytree(fixture.folder / "ckpt_controlnet" / "controlnet", folder / "controlnet")
    shutil.copytree(fixture.folder / "ckpt", folder / "pipeline3d", ignore=shutil.ignore_patterns("unet"))
    (folder / "pipeline3d").chmod(0o755)
    shutil.copytree(folder / "unet3d", folder / "pipeline3d" / "unet")
    return folder


def generator_with(fixture, built, names: str):
    """The generator that a ControlNet case uses."""
    nets = [built / name for name in names.split("+")]
    base = built / "pipeline3d" if "3d" in names else fixture.folder / "ckpt"
    return checkpoints.load(base, controlnet=nets if len(nets) > 1 else nets[0])


def test_metadata_numbers(fixture, generator):
    raw = fixture["md.raw_offset"]
    rows = [
        checkpoints.normalize_metadata(lon - 180, lat - 90, gsd, cloud, year + 1980, month, day)
        for lon, lat, gsd, cloud, year, month, day in raw.tolist()
    ]
    fixture.close("metadata", "normalised", torch.stack(rows), "md.norm_from_floats", 1e-6)
    sinusoid = generator.unet.time_proj(fixture["md.norm_from_tensor"].flatten()).unflatten(0, raw.shape)
    fixture.close("metadata", "sinusoid", sinusoid, "md.time_proj")
    each = [embed(sinusoid[:, i]) for i, embed in enumerate(generator.unet.metadata_embedding)]
    fixture.close("metadata", "embedding", torch.stack(each, 1), "md.embed_each")


def test_text(fixture, generator):
    prompts = [*fixture.info["prompts"], ""]
    ids = generator.tokenizer(
        prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    assert torch.equal(ids.input_ids, fixture["text.ids"])
    fixture.close("text", "states", generator.text_encoder(ids.input_ids)[0], "text.states")


def test_time_embedding(fixture, generator):
    projected = generator.unet.time_proj(fixture["temb.t"])
    fixture.close("time", "sinusoid", projected, "temb.proj")
    fixture.close("time", "embedding", generator.unet.time_embedding(projected), "temb.emb")


def test_vae(fixture, generator):
    vae = generator.vae
    fixture.close(
        "vae", "decoded", vae.decode(fixture["vae.z"] / vae.config.scaling_factor).sample, "vae.decode_raw"
    )
    fixture.close("vae", "mean", vae.encode(fixture["vae.image_in"]).latent_dist.mean, "vae.encode_mean")


@pytest.mark.parametrize("case", cases("diffusionsat", "unet_cases"))
def test_unet(fixture, generator, case):
    i = case["index"]
    inputs = [fixture[f"unet.{i}.{name}"] for name in ("sample", "timestep", "encoder_hidden_states")]
    metadata = fixture[f"unet.{i}.metadata"]
    seen = []
    resnet = generator.unet.down_blocks[0].resnets[0]
    hook = resnet.register_forward_hook(lambda module, args, out: seen.append(args[1]))
    out = generator.unet(*inputs, metadata=metadata).sample
    hook.remove()
    fixture.close(f"unet {i}", "time + metadata", seen[0], f"unet.{i}.emb")
    fixture.close(f"unet {i}", "output", out, f"unet.{i}.out")


def test_unet_without_metadata(fixture, tmp_path):
    """use_metadata=false turns the same weights into plain Stable Diffusion; unknown metadata is something
    else.
    """
    shutil.copytree(fixture.folder / "ckpt", tmp_path / "plain")
    (tmp_path / "plain" / "unet").chmod(0o755)
    config = tmp_path / "plain" / "unet" / "config.json"
    config.chmod(0o644)
    config.write_text(config.read_text().replace('"use_metadata": true', '"use_metadata": false'))
    unet = checkpoints.load(tmp_path / "plain").unet
    inputs = [fixture[f"unet.0.{name}"] for name in ("sample", "timestep", "encoder_hidden_states")]
    fixture.close("unet, no metadata", "output", unet(*inputs).sample, "unet.nomd.out")


@pytest.mark.parametrize("case", cases("diffusionsat", "pipe_cases"))
def test_sample(fixture, generator, case):
    i, options = case["index"], case["kwargs"]
    arguments = {
        "metadata": fixture["md.norm_from_tensor"][case["metadata_rows_of_md_norm_from_tensor"]],
        "negative_prompt": options.get("negative_prompt"),
        "steps": options["num_inference_steps"],
        "guidance": options["guidance_scale"],
        "sampler": SAMPLERS[case["scheduler"]],
        "size": (options["height"], options["width"]) if "height" in options else None,
        "latents": fixture[f"pipe.{i}.latents_in"],
    }
    from rs_course.sampling import trajectory

    steps = list(trajectory(generator, case["prompt"], **arguments))
    assert [step.t for step in steps] == fixture[f"pipe.{i}.timesteps"].tolist()
    fixture.close(
        f"sample {i}", "every step", torch.stack([s.latents for s in steps]), f"pipe.{i}.trajectory"
    )
    latents = generator.sample(case["prompt"], output="latent", **arguments)
    fixture.close(f"sample {i}", "final latents", latents, f"pipe.{i}.latents_out", 1e-3)
    fixture.close_grey(f"sample {i}", generator.sample(case["prompt"], **arguments), f"pipe.{i}.image")


@pytest.mark.parametrize("case", cases("diffusionsat", "controlnet_cases"))
def test_controlnet(fixture, built, case):
    p = f"cn.{case['index']}."
    generator = generator_with(fixture, built, case["model"])
    inputs = [fixture[p + name] for name in ("sample", "timestep", "encoder_hidden_states")]
    metadata = fixture[p + "metadata"]
    out = generator.controlnet(
        *inputs,
        fixture[p + "cond"],
        metadata=metadata,
        cond_metadata=fixture.get(p + "cond_metadata"),
        conditioning_scale=case["conditioning_scale"],
        guess_mode=case["guess_mode"],
    )
    name = f"controlnet {case['index']}"
    for k, residual in enumerate(out.down_block_res_samples):
        fixture.close(name, "residuals", residual, f"{p}down.{k}")
    fixture.close(name, "residuals", out.mid_block_res_sample, p + "mid")
    prediction = generator.unet(
        *inputs,
        metadata=metadata,
        down_block_additional_residuals=out.down_block_res_samples,
        mid_block_additional_residual=out.mid_block_res_sample,
    ).sample
    fixture.close(name, "unet output", prediction, p + "unet_out")


def pil(fixture, i):
    return [Image.fromarray(array.numpy()) for array in fixture[f"cnpipe.{i}.cond_uint8"]]


# Every form in which a caller may hold the same condition pictures.
FORMS = {
    "pil": {
        "PIL": lambda f, i: pil(f, i)[0],
        "list": pil,
        "nested list": lambda f, i: [pil(f, i)],
        "uint8": lambda f, i: f[f"cnpipe.{i}.cond_uint8"],
        "array": lambda f, i: f[f"cnpipe.{i}.cond_uint8"][0].numpy(),
        "float": lambda f, i: f[f"cnpipe.{i}.cond_uint8"].permute(0, 3, 1, 2) / 255,
        "prepared": lambda f, i: f[f"cnpipe.{i}.prepared_image"],
    },
    "tensor": {
        "tensor": lambda f, i: f[f"cnpipe.{i}.cond_tensor"],
        "image": lambda f, i: f[f"cnpipe.{i}.cond_tensor"][0],
        "array": lambda f, i: f[f"cnpipe.{i}.cond_tensor"].numpy(),
    },
    "pillist": {
        "nested list": lambda f, i: [pil(f, i)],
        "list": pil,
        "uint8": lambda f, i: f[f"cnpipe.{i}.cond_uint8"],
        "float": lambda f, i: f[f"cnpipe.{i}.cond_uint8"].permute(0, 3, 1, 2) / 255,
        "stacked": lambda f, i: (f[f"cnpipe.{i}.cond_uint8"].permute(0, 3, 1, 2) / 255).flatten(0, 1)[None],
        "frames": lambda f, i: (f[f"cnpipe.{i}.cond_uint8"].permute(3, 0, 1, 2) / 255)[None],
    },
}


@pytest.mark.parametrize("case", cases("diffusionsat", "controlnet_pipe_cases"))
def test_sample_with_controlnet(fixture, built, case):
    i, options = case["index"], case["kwargs"]
    generator = generator_with(fixture, built, case["model"])
    cond_metadata = fixture[f"cnpipe.{i}.cond_metadata"]
    arguments = {
        "metadata": fixture["md.norm_from_tensor"][case["metadata_row"]],
        "cond_metadata": cond_metadata,
        "steps": options["num_inference_steps"],
        "guidance": options["guidance_scale"],
        "sampler": SAMPLERS[case["scheduler"]],
        "size": (options["height"], options["width"]) if "height" in options else None,
        "control_strength": options.get("controlnet_conditioning_scale", 1.0),
        "latents": fixture[f"cnpipe.{i}.latents_in"],
    }
    for form, make in FORMS[case["image_kind"]].items():
        if form == "frames" and "+" in case["model"]:
            continue  # several nets have no common time axis
        if form == "prepared" and fixture.get(f"cnpipe.{i}.prepared_image") is None:
            continue
        latents = generator.sample(case["prompt"], image=make(fixture, i), output="latent", **arguments)
        fixture.close(f"controlnet sample {i}", "final latents", latents, f"cnpipe.{i}.latents_out", 1e-3)
    pictures = generator.sample(
        case["prompt"], image=make(fixture, i) if form != "frames" else [pil(fixture, i)], **arguments
    )
    fixture.close_grey(f"controlnet sample {i}", pictures, f"cnpipe.{i}.image")
    rows = (
        [cond_metadata[None], cond_metadata[None, :, None]]
        if cond_metadata.ndim == 1
        else [cond_metadata[None], cond_metadata.T]
    )
    for form in rows:
        arguments["cond_metadata"] = form
        image = [pil(fixture, i)] if case["image_kind"] == "pillist" else make(fixture, i)
        latents = generator.sample(case["prompt"], image=image, output="latent", **arguments)
        fixture.close(f"controlnet sample {i}", "final latents", latents, f"cnpipe.{i}.latents_out", 1e-3)
