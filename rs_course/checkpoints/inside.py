"""Inside the UNet while it samples: the shape that leaves each block, and where each word is attended to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rs_course import plots

from .checkpoint import Checkpoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shapes(checkpoint: Checkpoint, prompt: str) -> list[tuple[str, tuple[int, int, int], bool]]:
    """Run the UNet once: each block's name, the shape ``(C, h, w)`` that leaves it, whether it attends."""
    from rs_course import sampling

    unet, found = checkpoint.unet, []
    down = [(f"down {i + 1}", block) for i, block in enumerate(unet.down_blocks)]
    up = [(f"up {i + 1}", block) for i, block in enumerate(unet.up_blocks)]

    def note(name):
        def keep(block, _given, output):
            tensor = output[0] if isinstance(output, tuple) else output
            found.append((name, tuple(tensor.shape[1:]), hasattr(block, "attentions")))

        return keep

    blocks = [
        ("first conv", unet.conv_in),
        *down,
        ("middle", unet.mid_block),
        *up,
        ("last conv", unet.conv_out),
    ]
    hooks = [block.register_forward_hook(note(name)) for name, block in blocks]
    try:
        next(sampling.trajectory(checkpoint, prompt, steps=1, guidance=1.0))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def drawn(checkpoint: Checkpoint, prompt: str, *, provenance: str) -> Figure:
    """Draw the UNet with the shapes of :func:`shapes`: its two arms and the skips between them."""
    import matplotlib.pyplot as plt

    rows = shapes(checkpoint, prompt)  # as many on the way down as on the way up
    half = len(rows) // 2
    figure, axis = plt.subplots(figsize=(8.2, 0.62 * (half + 1)))
    axis.set(xlim=(-2.1, 2.1), ylim=(-half - 0.6, 0.6))
    axis.set_axis_off()
    arrow = {"arrowstyle": "->", "color": "#808080"}
    for index, (name, shape, words) in enumerate(rows):
        level, side = min(index, len(rows) - 1 - index), (index > half) - (index < half)
        colour = plots.COLOURS[1] if words else "#404040"
        axis.annotate(
            f"{name}: {' × '.join(map(str, shape))}" + (", reads the words" if words else ""),
            (1.1 * side, -level),
            ha="center",
            va="center",
            fontsize=8,
            color=colour,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour},
        )
        if side < 0 < level:
            axis.annotate("", (0.45, -level), (-0.45, -level), arrowprops=arrow | {"linestyle": "--"})
            axis.text(0, -level + 0.1, "skip", ha="center", fontsize=7, color="#606060")
        if index:  # from the block before
            last = min(index - 1, len(rows) - index), (index - 1 > half) - (index - 1 < half)
            up = 0.24 if last[0] < level else -0.24
            axis.annotate("", (1.1 * side, -level + up), (1.1 * last[1], -last[0] - up), arrowprops=arrow)
    axis.set_title("what leaves each block, channels × height × width; the time enters every one")
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
        query, key, value = (
            attn.head_to_batch_dim(part)
            for part in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        share = attn.get_attention_scores(query, key, attention_mask)
        self.shares.append(share.mean(0).float().cpu())
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(share @ value)))
