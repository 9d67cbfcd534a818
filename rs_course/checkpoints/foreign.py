"""Pipelines that look like Stable Diffusion and are not: said before a weight is read.

A folder with a UNet is not yet a generator that this package can run. What the UNet is told beside the text
(SDXL's sizes, a depth map, a picture to edit, a noise level) is not in its weights but in its pipeline.
"""

from __future__ import annotations

from pathlib import Path

from .weights import read_json

# UNet input channels beyond the latents, by what is put there.
_CHANNELS = {
    1: "a depth map (depth-to-image)",
    3: "a small picture (an upscaler)",
    4: "a picture to edit (InstructPix2Pix)",
}
_UNET_KEYS = {
    "addition_embed_type": "an added embedding, as SDXL or Kandinsky have it",
    "encoder_hid_dim_type": "other text or image states, as Kandinsky or IP-Adapter have them",
    "num_class_embeds": "class labels or a noise level, as upscalers have it",
    "time_cond_proj_dim": "the guidance scale, as distilled models (LCM) have it",
}
_VAE_KEYS = ("shift_factor", "latents_mean", "latents_std")


def refuse_transformers(root: Path, index: dict) -> None:
    """Refuse a pipeline that has a transformer in the UNet's place (Stable Diffusion 3, Flux, PixArt).

    Raises:
        ValueError: It is one.
    """
    if (root / "transformer").is_dir() and not (root / "unet").is_dir():
        raise ValueError(f"{root} is {_named(index)}, a transformer instead of a UNet: {_ELSEWHERE}.")


def refuse(root: Path, index: dict, parts: dict[str, Path]) -> None:
    """Refuse a pipeline that needs more than text, or another kind of part, judged by the configs.

    Args:
        root: The checkpoint's folder, for messages.
        index: Content of ``model_index.json``.
        parts: Folders by name.

    Raises:
        ValueError: One sentence on what it is.
    """
    unet, vae, text = (read_json(parts[name] / "config.json") for name in ("unet", "vae", "text_encoder"))
    if (root / "text_encoder_2").is_dir():
        raise ValueError(f"{root} is {_named(index)} with a second text encoder (SDXL): {_ELSEWHERE}.")
    for key, what in _UNET_KEYS.items():
        if unet.get(key) is not None:
            raise ValueError(f"{root} is {_named(index)}, whose UNet is told {what} ({key}): {_ELSEWHERE}.")
    latent = vae.get("latent_channels", 4)
    more = unet.get("in_channels", 4) - latent
    if more not in (0, latent + 1):
        what = _CHANNELS.get(more, "something else")
        raise ValueError(
            f"{root} is {_named(index)}, whose UNet has {latent + more} input channels: {latent} latents and "
            f"{what}: {_ELSEWHERE}."
        )
    if unet.get("out_channels", 4) != latent:
        raise ValueError(
            f"{root}: its UNet gives {unet.get('out_channels', 4)} channels for {latent} latent ones: "
            f"{_ELSEWHERE}."
        )
    kind = vae.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL" or (odd := next((key for key in _VAE_KEYS if vae.get(key) is not None), None)):
        what = f"is a {kind}" if kind != "AutoencoderKL" else f"has a {odd}"
        raise ValueError(f"{root}: its VAE {what}, other than Stable Diffusion's: {_ELSEWHERE}.")
    if "clip" not in (encoder := text.get("model_type", "clip")):
        raise ValueError(f"{root}: its text encoder is a {encoder}, not CLIP: {_ELSEWHERE}.")
    width = text.get("hidden_size", text.get("text_config", {}).get("hidden_size"))
    wanted = unet.get("cross_attention_dim", 1280)
    if isinstance(width, int) and isinstance(wanted, int) and width != wanted:
        raise ValueError(
            f"{root}: the text encoder gives {width} numbers and the UNet reads {wanted}: are both of one "
            "checkpoint?"
        )


_ELSEWHERE = (
    "this package reads text-to-image models like Stable Diffusion 1 and 2; diffusers has the pipeline for it"
)


def _named(index: dict) -> str:
    name = index.get("_class_name")
    return f"a {name}" if isinstance(name, str) else "a pipeline"
