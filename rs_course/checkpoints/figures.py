"""A checkpoint drawn from what is in it: what reaches the UNet, what leaves its blocks, where it attends.

>>> architecture(load("mini-diffusionsat"), provenance="computed · mini-diffusionsat")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from rs_course import plots

from .checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


_GREY, _INK, _NEW = "#E8E8E8", "#404040", plots.COLOURS[1]
_DOORS = {
    "attention": "cross-attention",
    "time": "+ time vector,\nin every block",
    "skips": "+ skip\nconnections",
    "input": "first\nconvolution",
}


class Way(NamedTuple):
    """One way into the UNet.

    Attributes:
        door: Where it enters: a key of ``_DOORS``.
        source: What a person gives.
        part: The network that translates it, or "" where none does.
        parameters: Of that network.
        becomes: What the UNet receives.
        new: Whether Stable Diffusion lacks it.
    """

    door: str
    source: str
    part: str
    parameters: int
    becomes: str
    new: bool = False


def ways_in(checkpoint: Checkpoint) -> list[Way]:
    """Everything that reaches the UNet, from top to bottom of the figure; sizes are the checkpoint's own."""
    unet = checkpoint.unet
    latent = checkpoint.vae.config.latent_channels
    side = checkpoint.default_size[0] // checkpoint.vae_factor
    width, vector = unet.config.cross_attention_dim, unet.time_embedding.linear_2.out_features
    ways = [Way("attention", "prompt", "CLIP text tower", count(checkpoint.text_encoder), f"77 × {width}")]
    adapter = checkpoint.content_adapter
    if adapter is not None:
        tokens = f"{adapter.tokens} more tokens"
        ways.append(
            Way("attention", "picture, as CLIP\nfeature", "content adapter", count(adapter), tokens, True)
        )
    ways.append(Way("time", "step t", "sinusoid, MLP", count(unet.time_embedding), f"{vector}"))
    if checkpoint.metadata_embedding is not None:
        fields = "year, month, day, gsd,\ncloud, lat, lon"
        own = count(checkpoint.metadata_embedding)
        ways.append(Way("time", fields, "7 × (sinusoid, linear)", own, f"{vector}", True))
    elif hasattr(unet, "metadata_embedding"):
        fields, own = "lon, lat, gsd, cloud,\nyear, month, day", count(unet.metadata_embedding)
        ways.append(Way("time", fields, "7 × (sinusoid, MLP)", own, f"{vector}", True))
    elif unet.class_embedding is not None:
        own = count(unet.class_embedding)
        ways.append(Way("time", "level, 10 to 18", "sinusoid, MLP", own, f"{vector}", True))
    if checkpoint.controlnet is not None:
        told = ("condition picture,\nits metadata", "ControlNet")
        if checkpoint.family == "crsdiff":
            told = ("six maps,\n18 channels", "map encoder")
        ways.append(Way("skips", *told, count(checkpoint.controlnet), f"{1 + _skips(unet)} residuals", True))
    ways.append(Way("input", "noise", "", 0, f"{latent} × {side} × {side}"))
    if unet.config.in_channels > latent:
        seen = f"{unet.config.in_channels - latent} × {side} × {side}"
        ways.append(Way("input", "mask, and picture\naround it", "VAE encoder", 0, seen, True))
    return ways


def architecture(checkpoint: Checkpoint, *, provenance: str, title: str | None = None) -> Figure:
    """Draw the checkpoint; orange is what Stable Diffusion does not have.

    Args:
        checkpoint: Any family.
        provenance: Of the figure.
        title: Headline; by default the family.

    Returns:
        matplotlib ``Figure``.
    """
    import matplotlib.pyplot as plt

    ways = ways_in(checkpoint)
    height = 0.52 * len(ways)
    figure, axis = plt.subplots(figsize=(8.2, height + 0.55))
    axis.set(xlim=(0, 8.2), ylim=(0, height))
    axis.set_axis_off()
    own = count(checkpoint.unet) - sum(way.parameters for way in ways if _inside_unet(way))
    _box(axis, 5.85, height / 2, 1.7, height - 0.12, "")
    axis.text(
        6.3, height / 2, f"UNet\n{_millions(own)}\nonce per step", ha="center", va="center", fontsize=7.5
    )
    _box(axis, 7.55, height / 2, 0.95, 0.62, f"VAE decoder\n{_millions(count(checkpoint.vae.decoder))}")
    _arrow(axis, (6.74, height / 2), (7.05, height / 2))
    pixels = " × ".join(map(str, (3, *checkpoint.default_size)))
    axis.text(7.55, height / 2 - 0.42, f"tile\n{pixels}", ha="center", va="top", fontsize=7.5)
    doors = set()
    for row, way in enumerate(ways):
        _draw_way(axis, height - 0.52 * (row + 0.5), way, door=way.door not in doors)
        doors.add(way.door)
    axis.set_title(title or checkpoint.family)
    plots.badge(figure, provenance)
    return figure


def count(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def _draw_way(axis, y: float, way: Way, *, door: bool) -> None:
    colour = _NEW if way.new else _INK
    axis.text(1.3, y, way.source, ha="right", va="center", fontsize=8, color=colour)
    start = 1.4
    if way.part:
        numbers = f"\n{_millions(way.parameters)}" if way.parameters else ""
        _box(axis, 2.45, y, 1.65, 0.42, way.part + numbers, new=way.new)
        _arrow(axis, (start, y), (1.6, y), colour)
        start = 3.3
    _arrow(axis, (start, y), (5.0, y), colour)
    axis.text(3.4, y + 0.05, way.becomes, ha="left", va="bottom", fontsize=7.5, color=colour)
    if door:
        axis.text(5.05, y, _DOORS[way.door], ha="left", va="center", fontsize=6.5, color="#606060")


def _box(axis, x: float, y: float, width: float, height: float, text: str, *, new: bool = False) -> None:
    from matplotlib.patches import FancyBboxPatch

    edge = _NEW if new else "#909090"
    box: dict[str, Any] = {
        "boxstyle": "round,pad=0,rounding_size=0.06",
        "facecolor": "#FCE8DC" if new else _GREY,
    }
    axis.add_patch(
        FancyBboxPatch((x - width / 2, y - height / 2), width, height, edgecolor=edge, lw=1.2, **box)
    )
    axis.text(x, y, text, ha="center", va="center", fontsize=7.5)


def _arrow(axis, start, end, colour: str = _INK) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2})


def _inside_unet(way: Way) -> bool:
    return way.door == "time" and "linear" not in way.part


def _skips(unet) -> int:
    """Skip connections of a UNet: one after its first convolution, one per block and per downsampler."""
    downs = unet.down_blocks
    return 1 + sum(len(block.resnets) + len(block.downsamplers or ()) for block in downs)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters < 10e6 else f"{parameters / 1e6:.0f} M"


def unet_shapes(checkpoint: Checkpoint, prompt: str) -> list[tuple[str, tuple[int, int, int], bool]]:
    """Run the UNet once: each block's name, the shape ``(C, h, w)`` inside it, and whether it attends.

    A block changes the size of the grid at its end, so that the size inside is that of its skips.
    """
    from rs_course import sampling

    unet, found = checkpoint.unet, []
    down = [(f"down {i + 1}", block) for i, block in enumerate(unet.down_blocks)]
    up = [(f"up {i + 1}", block) for i, block in enumerate(unet.up_blocks)]

    def note(name, attends):
        def keep(_layer, _given, output):
            found.append((name, tuple(output.shape[1:]), attends))

        return keep

    blocks = [("first conv", unet.conv_in), *down, ("middle", unet.mid_block), *up]
    blocks.append(("last conv", unet.conv_out))
    hooks = [
        getattr(block, "resnets", [block])[-1].register_forward_hook(note(name, hasattr(block, "attentions")))
        for name, block in blocks
    ]
    try:
        next(sampling.trajectory(checkpoint, prompt, steps=1, guidance=1.0))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def unet_figure(checkpoint: Checkpoint, prompt: str, *, provenance: str) -> Figure:
    """Draw the UNet with the shapes of :func:`unet_shapes`: its two arms and the skips between them."""
    import matplotlib.pyplot as plt

    rows = unet_shapes(checkpoint, prompt)  # as many on the way down as on the way up
    half = len(rows) // 2
    figure, axis = plt.subplots(figsize=(8.2, 0.62 * (half + 1)))
    axis.set(xlim=(-2.1, 2.1), ylim=(-half - 0.6, 0.6))
    axis.set_axis_off()
    arrow = {"arrowstyle": "->", "color": "#808080"}
    boxes = []
    for index, (name, shape, words) in enumerate(rows):
        level, side = min(index, len(rows) - 1 - index), (index > half) - (index < half)
        colour = plots.COLOURS[1] if words else "#404040"
        box = axis.annotate(
            f"{name}: {' × '.join(map(str, shape))}" + (", reads the words" if words else ""),
            (1.1 * side, -level),
            ha="center",
            va="center",
            fontsize=8,
            color=colour,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour},
        )
        boxes.append(box.get_bbox_patch())
        if index:  # from the block before
            last = min(index - 1, len(rows) - index), (index - 1 > half) - (index - 1 < half)
            up = 0.24 if last[0] < level else -0.24
            axis.annotate("", (1.1 * side, -level + up), (1.1 * last[1], -last[0] - up), arrowprops=arrow)
            if (change := shape[1] / rows[index - 1][1][1]) != 1:
                middle = (0.55 * (side + last[1]) + 0.05, -(level + last[0]) / 2)
                axis.text(*middle, f"grid × {change:g}", va="center", fontsize=7, color="#606060")
    for level in range(1, half):  # a skip ends at the edges of its two boxes
        ends = {"linestyle": "--", "patchA": boxes[level], "patchB": boxes[-1 - level]}
        axis.annotate(
            "", (1.1, -level), (-1.1, -level), arrowprops=arrow | ends | {"shrinkA": 0, "shrinkB": 0}
        )
        axis.text(0, -level + 0.1, "skip", ha="center", fontsize=7, color="#606060")
    axis.set_title("Inside each block: channels × height × width. The timestep enters every block.")
    plots.badge(figure, provenance)
    return figure


def attention(
    checkpoint: Checkpoint, prompt: str, **arguments
) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Sample one image and note where the cross-attention looks for each piece of the prompt.

    Args:
        checkpoint: Any family.
        prompt: One prompt.
        **arguments: As in ``Checkpoint.sample``.

    Returns:
        ``(pieces, maps, image)``: the text pieces; ``[pieces, h, w]``, the share of its attention that each
        place gives to each piece, as a mean over steps, heads and the layers with the finest grid; and the
        image ``[1, 3, H, W]``.
    """
    from rs_course import sampling

    shares: list = []
    kept = checkpoint.unet.attn_processors
    checkpoint.unet.set_attn_processor(
        {name: _Noting(shares) if "attn2" in name else processor for name, processor in kept.items()}
    )
    try:
        *_, last = sampling.trajectory(checkpoint, prompt, guidance=1.0, **arguments)
    finally:
        checkpoint.unet.set_attn_processor(kept)
    ids = checkpoint.tokenizer(prompt).input_ids
    finest = max(len(share) for share in shares)
    maps = torch.stack([share for share in shares if len(share) == finest]).mean(0)[:, : len(ids)].T
    pieces = [checkpoint.tokenizer.decode([piece]).strip() for piece in ids]
    image = sampling.engine.decode(checkpoint, last.latents).cpu()
    h, w = image.shape[-2:]
    low = round((finest * h / w) ** 0.5)
    return pieces, maps.reshape(len(ids), low, -1), image


class _Noting:
    """Diffusers' attention written out, because its fused form never shows the shares."""

    def __init__(self, shares: list):
        self.shares = shares

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        given = (hidden_states, encoder_hidden_states, encoder_hidden_states)
        layers = zip((attn.to_q, attn.to_k, attn.to_v), given, strict=True)
        query, key, value = (attn.head_to_batch_dim(layer(states)) for layer, states in layers)
        share = attn.get_attention_scores(query, key, attention_mask)
        self.shares.append(share.mean(0).float().cpu())
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(share @ value)))
