"""A loaded generator written to disk: as a clean folder, and as ONNX graphs for programs without Python.

The folder has current key names, safetensors, one sub-folder per part. With the graphs a page of the book
draws::

    denoiser.onnx    latents [B, C, h, w], t [B], text [B, L, D], extra [B, ...]  ->  prediction [B, C, h, w]
    decoder.onnx     latents [B, C, h, w]  ->  images [B, 3, H, W] in [0, 1]
    generator.json   the prompts' encodings, the rows of metadata, and the sampler as a table of numbers

A sampler that adds no noise is linear in what it has seen. One step is ::

    x0    = p_k x_k + q_k v_k                      v_k: what the network says
    x_k+1 = a_k x_k + b_k x0 + c_k (x0 of the step before)

and whoever reads p, q, a, b, c needs none of the sampler's code.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rs_course.checkpoints.families import FAMILIES, DiffusionSat, StableDiffusion, Text2Earth
from rs_course.files import write_json
from rs_course.sampling.samplers import make_sampler, step

from .checkpoint import Checkpoint, write_card
from .loading import load_controlnet

# A class of this package is written under the name that the published configurations use.
_PUBLISHED_NAMES = {"SatControlNet": "ControlNetModel", "SatControlNet3D": "ControlNetModel3D"}
_OWN_CLASSES = ("SatUNet", *_PUBLISHED_NAMES.values())
# The models of transformers, which name their weight file otherwise.
_WEIGHTS = {"text_encoder": "model.safetensors", "image_encoder": "model.safetensors"}


def write_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write all parts; a part that is a plain diffusers or transformers model opens there.

    The folder appears under its name when it is complete.

    Raises:
        FileExistsError: Something is there already.
    """
    with _new_folder(target) as folder:
        for name, module in checkpoint.modules().items():
            if name == "controlnet":
                name = "local_adapter" if checkpoint.family == "crsdiff" else name
                for k, net in enumerate(getattr(module, "nets", [module])):
                    write_model(net, folder / (f"{name}_{k}" if k else name), name)
            else:
                write_model(module, folder / name, name)
        checkpoint.tokenizer.save_pretrained(folder / "tokenizer")
        scheduler = dict(checkpoint.scheduler.config)
        scheduler_class = (
            "DDIMScheduler" if checkpoint.family == "crsdiff" else type(checkpoint.scheduler).__name__
        )
        write_json(folder / "scheduler" / "scheduler_config.json", _config(scheduler, scheduler_class))
        write_json(folder / "model_index.json", _index(checkpoint, scheduler_class))
        if card := checkpoint.card:
            stated = {"source": card.source, "licence": card.licence, "training_data": card.training_data}
            write_card(folder, **stated, settings=checkpoint.settings, converted_from=card.hash)


def write_controlnet(source: Path, target: Path, dtype: torch.dtype) -> None:
    """Write DiffusionSat's ControlNet(s) alone."""
    net = load_controlnet(source, dtype)
    with _new_folder(target) as folder:
        for k, one in enumerate(getattr(net, "nets", [net])):
            write_model(one, folder / (f"controlnet_{k}" if k else "controlnet"), "controlnet")


def write_model(module: torch.nn.Module, folder: Path, name: str) -> None:
    """One model: its config and its weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if name in _WEIGHTS:
        module.config.save_pretrained(folder)
    else:
        class_name = type(module).__name__
        config = _config(dict(module.config), _PUBLISHED_NAMES.get(class_name, class_name))
        write_json(folder / "config.json", config)
    weights = {key: value.contiguous() for key, value in module.state_dict().items()}
    file = folder / _WEIGHTS.get(name, "diffusion_pytorch_model.safetensors")
    save_file(weights, file, metadata={"format": "pt"})


def _index(checkpoint: Checkpoint, scheduler_class: str) -> dict:
    """``model_index.json``: what plain diffusers needs to open the folder.

    A class that diffusers does not have stands behind ``null``, as in the published files: pass it by hand.
    """
    inpaints = checkpoint.unet.config.in_channels == 9
    unet = type(checkpoint.unet).__name__
    return {
        "_class_name": "StableDiffusionInpaintPipeline" if inpaints else "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler_class],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": [None if unet in _OWN_CLASSES else "diffusers", unet],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _config(values: dict, class_name: str) -> dict:
    return {"_class_name": class_name, **{key: v for key, v in values.items() if not key.startswith("_")}}


@contextmanager
def _new_folder(target: Path):
    """A scratch folder beside the target that takes its name at the end, or is removed after an error."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is there already: choose another folder, or remove it first.")
    scratch = target.with_name(target.name + ".partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        if target.is_dir():
            target.rmdir()
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# The condition beside the text, by family; the others see pictures too.
_EXTRA = {StableDiffusion: None, DiffusionSat: "metadata", Text2Earth: "level"}
PLACE = {"lon": 9.0, "lat": 48.5, "gsd": 10.0, "cloud_cover": 0.0, "year": 2021, "day": 15}


class Denoiser(nn.Module):
    """The network of a checkpoint with its conditions as tensors."""

    def __init__(self, checkpoint):
        super().__init__()
        self.unet, self._checkpoint = checkpoint.unet, [checkpoint]
        self._family = FAMILIES[checkpoint.family]
        self._extra = _EXTRA[type(self._family)]

    def forward(
        self, latents: torch.Tensor, t: torch.Tensor, text: torch.Tensor, extra: torch.Tensor | None = None
    ) -> torch.Tensor:
        given = {"text": text} if self._extra is None else {"text": text, self._extra: extra}
        return self._family.predict(self._checkpoint[0], latents, t, given)


class Decoder(nn.Module):
    """Latents to images in [0, 1]."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        return (decoded / 2 + 0.5).clamp(0, 1)


# A table of numbers cannot draw noise: in place of a default that does, the solver of its kind without any.
WITHOUT_NOISE = {"sde-dpmsolver++": "dpmsolver++", "ddpm": "ddim"}


def export(
    checkpoint: Checkpoint, folder: Path, *, name: str, prompts: Mapping[str, str], steps: Iterable[int]
) -> Path:
    """Write the three files.

    Args:
        checkpoint: A loaded ``Checkpoint`` that draws from text, metadata or a level alone.
        folder: Where they go; it is made.
        name: The checkpoint's name, for the badge under a picture.
        prompts: Word that a user chooses, to prompt.
        steps: Numbers of sampler steps that can be chosen; the checkpoint's own default joins them.

    Returns:
        The path of ``generator.json``.

    Raises:
        ValueError: The checkpoint sees pictures, or its sampler is no linear one.
    """
    family = FAMILIES[checkpoint.family]
    if type(family) not in _EXTRA or checkpoint.controlnet is not None:
        raise ValueError(f"{name} draws from pictures too; only text, metadata and a level can be exported.")
    defaults, extra = checkpoint.defaults, _EXTRA[type(family)]
    counts = sorted({*steps, defaults["steps"]})
    sampler = defaults.get("sampler")
    sampler = WITHOUT_NOISE.get(sampler, sampler) if sampler else None
    tables = {count: sampler_table(checkpoint, sampler, count) for count in counts}
    rows, unconditional = _conditions(checkpoint, prompts)
    sides = [side // checkpoint.vae_factor for side in checkpoint.default_size]
    shape = [checkpoint.vae.config.latent_channels, *sides]

    folder.mkdir(parents=True, exist_ok=True)
    latents = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    inputs = {"latents": latents, "t": torch.tensor([500.0, 500.0]), "text": rows["text"][:1].repeat(2, 1, 1)}
    if extra:
        inputs["extra"] = torch.cat([rows[extra][:1]] * 2)
    _write_graph(Denoiser(checkpoint), inputs, "prediction", folder / "denoiser.onnx")
    _write_graph(Decoder(checkpoint.vae), {"latents": latents}, "images", folder / "decoder.onnx")
    described = {
        "name": name,
        "family": checkpoint.family,
        "latents": shape,
        "guidance": float(defaults["guidance"]),
        "guidance_interval": list(defaults.get("guidance_interval") or (0.0, 1.0)),
        "default_steps": defaults["steps"],
        "times": checkpoint.scheduler.config.num_train_timesteps,
        "steps": tables,
        "prompts": dict(prompts),
        "extra": extra,
        "conditions": {key: value.tolist() for key, value in rows.items()},
        "unconditional": {key: value.tolist() for key, value in unconditional.items()},
    }
    path = folder / "generator.json"
    path.write_text(json.dumps(_rounded(described), ensure_ascii=False), encoding="utf-8")
    return path


def _conditions(checkpoint, prompts) -> tuple[dict, dict]:
    """Encodings of all prompts, and rows of the extra condition: one per month for metadata, else one."""
    family = FAMILIES[checkpoint.family]
    none = {"image": None, "conditions": None, "cond_metadata": None}
    months = [{**PLACE, "month": month} for month in range(1, 13)]
    metadata = months if _EXTRA[type(family)] == "metadata" else None
    with torch.inference_mode():
        rows = family.read(checkpoint, list(prompts.values()), metadata=metadata, **none)
        given = family.encode(checkpoint, rows)
        dropped = family.encode(checkpoint, {**family.unconditional(rows), "text": [""]})
    return given, {key: value[:1] for key, value in dropped.items()}


def sampler_table(checkpoint: Checkpoint, sampler: str | None, count: int) -> list[dict]:
    """The numbers of each step, found by letting the sampler work on random numbers.

    Returns:
        For each step its time ``t`` and ``p``, ``q``, ``a``, ``b``, ``c`` as in the formulas above.

    Raises:
        ValueError: The sampler adds noise, scales what the network sees, or remembers more than one step.
    """
    scheduler, eta = make_sampler(
        checkpoint.scheduler, sampler, 0.0, FAMILIES[checkpoint.family].solver_options
    )
    scheduler.set_timesteps(count)
    generator = torch.Generator().manual_seed(0)

    def lanes():
        return torch.randn(1, 1, 8, 8, generator=generator, dtype=torch.float64)  # schedulers expect images

    kind, alphas = scheduler.config.prediction_type, scheduler.alphas_cumprod.double()
    x, before, table = lanes(), torch.zeros(1, 1, 8, 8, dtype=torch.float64), []
    for index, t in enumerate(scheduler.timesteps):
        if not torch.equal(scheduler.scale_model_input(x, t), x):
            raise ValueError(
                f"{type(scheduler).__name__} scales what the network sees; choose another sampler."
            )
        signal, noise = alphas[int(t)].sqrt().item(), (1 - alphas[int(t)]).sqrt().item()
        p, q = {
            "v_prediction": (signal, -noise),
            "epsilon": (1 / signal, -noise / signal),
            "sample": (0.0, 1.0),
        }[kind]
        v = lanes()
        x0 = p * x + q * v
        after = step(scheduler, v, t, x, eta, _no_noise, index).double()
        seen = torch.stack([x, x0, before], -1).reshape(-1, 3).numpy()
        found = np.linalg.lstsq(seen, after.flatten().numpy())[0]
        if np.abs(seen @ found - after.flatten().numpy()).max() > 1e-4:
            raise ValueError(
                f"{type(scheduler).__name__} is not linear in one earlier step; choose another sampler."
            )
        a, b, c = found.tolist()
        table.append({"t": float(t), "p": p, "q": q, "a": a, "b": b, "c": c})
        x, before = after, x0
    return table


def _no_noise(_):
    raise ValueError("this sampler adds noise at each step; choose one without, such as dpmsolver++.")


def _write_graph(module: nn.Module, inputs: dict, output: str, path: Path) -> None:
    """One graph of any batch size, its weights stored in half precision as the minis' own files are."""
    import onnx

    # Its exporter looks for torchvision, which nothing here needs.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval().float(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=[{0: batch} for _ in inputs],
            dynamo=True,
            verbose=False,
        )
    onnx.save(halved(program.model_proto), path)


def halved(model: Any) -> Any:
    """The graph with each large float32 weight stored as float16 and cast back where it is loaded."""
    import onnx
    from onnx import numpy_helper

    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 64:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    return model


def _rounded(value):
    """Numbers of an encoding need seven digits, as float32 has."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
