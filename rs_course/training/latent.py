"""Training in latent space, the same for every mini generator: encode once, then learn to denoise.

A generator's own module (``diffusionsat``, ``text2earth``, …) says which network, which tiles and what it is
told about each tile; this one holds what they share. Rombach et al. 2022 (arXiv 2112.10752); v-prediction
after Salimans & Ho 2022 (arXiv 2202.00512), weighted by min-SNR (Hang et al. 2023, arXiv 2303.09556).
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rs_course import precision, training_loop
from rs_course.checkpoints.loading import locate, read_device
from rs_course.diffusion import schedules
from rs_course.diffusion.pixel import from_pixels
from rs_course.diffusion.process import denoising_loss
from rs_course.files import write_json
from rs_course.training_loop import EMA, Budget, Recipe, linear_decay

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin

# Stable Diffusion's schedule with a larger last β: on 16×16 latents, a quarter as wide as those it was made
# for, its own would leave the mean colour readable in what should be pure noise.
BETAS = {"beta_start": 0.00085, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler", "num_train_timesteps": 1000, **BETAS,
    "prediction_type": "v_prediction", "algorithm_type": "dpmsolver++", "solver_order": 2,
    "timestep_spacing": "trailing", "steps_offset": 1,
}  # fmt: skip
# What DDIM needs to sample with it, for the minis whose own sampler it is.
DDIM = {
    "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, **BETAS, "prediction_type": "v_prediction",
    "clip_sample": False,
}  # fmt: skip
RECIPE = Recipe(lr=7e-4, decay=linear_decay(0.4))
# Of what a frozen UNet is shown, in some thousand steps.
SHORT = {"recipe": Recipe(lr=1e-3, decay=linear_decay(0.4), log_every=100), "ema_decay": 0.995}
VIEWS = 4  # of a real tile that are encoded: it may be turned and mirrored, seen from above
# What the UNets have in common; attention from 16×16 on, where it is decided what lies where.
UNET = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "sample_size": 16, "layers_per_block": 1, "norm_num_groups": 16, "cross_attention_dim": 128,
    "use_linear_projection": True,
}  # fmt: skip


def schedule() -> schedules.Schedule:
    """The noise schedule of all latent minis."""
    return schedules.scaled_linear(1000, BETAS["beta_start"], BETAS["beta_end"])


def in_views(x: torch.Tensor, views: int = VIEWS) -> list[torch.Tensor]:
    """Pictures or maps ``[..., H, W]`` as they are, mirrored, and both turned by a quarter; the first few."""
    flipped = x.flip(-1)
    return [x, flipped, x.rot90(1, (-2, -1)), flipped.rot90(1, (-2, -1))][:views]


@torch.inference_mode()
def encode(vae: AutoencoderKL, images: np.ndarray, *, views: int = 1) -> torch.Tensor:
    """Latents of tiles as the UNet sees them: uint8 ``[N, H, W, 3]`` to float16 ``[N, views, C, h, w]``.

    The views are those of :func:`in_views`. They lie on the device of ``vae``.
    """
    out = []
    for start in range(0, len(images), 50):
        x = from_pixels(np.ascontiguousarray(images[start : start + 50])).to(vae.device)
        with precision.fast(vae.device.type):
            seen = [vae.encode(view).latent_dist.mean for view in in_views(x, views)]
        out.append((torch.stack(seen, 1).float() * vae.config.scaling_factor).half())
    return torch.cat(out).clone()


def shared_parts(*, text_encoder: str | Path | None = None):
    """The autoencoder, tokenizer and text tower that the minis share, on the device that trains, and the
    folders they lie in. A checkpoint ``text_encoder`` with a tower of its own gives that one instead.
    """
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

    from rs_course.checkpoints.loading import load_model, load_text_encoder

    device = read_device(None)
    folders = {
        "vae": locate("mini-vae"),
        "text_encoder": locate("mini-clip"),
        "tokenizer": locate("mini-clip"),
    }
    tower = own_tower(text_encoder) or folders["text_encoder"]
    return (
        load_model(AutoencoderKL, folders["vae"], torch.float32).eval().to(device),
        CLIPTokenizer.from_pretrained(folders["tokenizer"]),
        load_text_encoder(tower, torch.float32).eval().to(device),
        folders,
    )


def own_tower(checkpoint: str | Path | None) -> Path | None:
    """Folder of the text tower that learnt with a checkpoint's UNet; ``None`` where it has the shared one."""
    folder = None if checkpoint is None else locate(checkpoint) / "text_encoder"
    return folder if folder is not None and folder.is_dir() else None


class Remembered:
    """What a function makes of sentences, of those that were met before from memory.

    Args:
        make: N sentences to a tensor ``[N, ...]``.
        remember: How many sentences to keep.
    """

    def __init__(self, make: Callable[[list[str]], torch.Tensor], remember: int):
        self.make, self.remember = make, remember
        self.known: dict[str, torch.Tensor] = {}

    def __call__(self, sentences: list[str]) -> torch.Tensor:
        new = [s for s in dict.fromkeys(sentences) if s not in self.known]
        if new:
            if len(self.known) + len(new) > self.remember:
                self.known.clear()
                new = list(dict.fromkeys(sentences))
            self.known.update(zip(new, self.make(new), strict=True))
        return torch.stack([self.known[s] for s in sentences])


def tokens(tokenizer: Any) -> Remembered:
    """Sentences to token numbers ``[N, 77]``."""
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    length = tokenizer.model_max_length
    return Remembered(lambda new: tokenizer(new, max_length=length, **options).input_ids, 200_000)


def text_states(tokenizer: Any, text_encoder: Any) -> Callable[[list[str]], torch.Tensor]:
    """Sentences to states ``[N, 77, D]``; remembered in bfloat16, which takes half the memory."""
    from rs_course.checkpoints.prompts import encode as states_of

    @torch.no_grad()
    def make(new):
        return states_of(tokenizer, text_encoder, new).bfloat16()

    remembered = Remembered(make, 20_000)
    return lambda sentences: remembered(sentences).float()


class TextStates(torch.nn.Module):
    """A text tower that learns with its UNet: token numbers ``[N, 77]`` to states ``[N, 77, D]``.

    The contrastive training that it comes from asks which tile a sentence is about, and hardly where in the
    tile something is; a denoiser needs to know both.
    """

    def __init__(self, tower):
        super().__init__()
        self.tower = tower.requires_grad_(True)  # as the shared parts come, they do not learn
        if tower.device.type == "cpu":  # for the reason given at with_plain_attention
            tower.set_attn_implementation("eager")

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        different, rows = ids.unique(dim=0, return_inverse=True)
        return self.tower(different).last_hidden_state[rows]


class TextDenoiser(torch.nn.Module):
    """A UNet and the text tower that learns with it; a generator's own module says what else it is told."""

    def __init__(self, unet, text_encoder):
        super().__init__()
        self.unet, self.texts = with_plain_attention(unet), TextStates(text_encoder)


def fit(
    out: str | Path, network: torch.nn.Module, batches: Callable[[int], Iterable],
    save: Callable[[torch.nn.Module, Path], None] | None, *, budget: Budget, seed: int = 0,
    resume: bool = True, start: str | Path | None = None, recipe: Recipe = RECIPE, ema_decay: float = 0.999,
    loss_weight: Callable[..., torch.Tensor] | None = None, targets: Callable[..., tuple] | None = None,
    coarse: tuple[int, float] | None = None, share: float = 1.0,
    sample_grid: Callable[[Path], Grid] | None = None, compile: bool = False,
):  # fmt: skip
    """Train a network to predict v and write the averaged weights.

    Args:
        out: Folder of the training state, ``log.jsonl``, samples and the checkpoint.
        network: Called as ``network(x_t, t, *condition)``.
        batches: ``batches(first)`` yields ``(x0, *condition)`` of the steps ``first``, ``first + 1``, …
        save: ``save(averaged_network, out)`` writes the checkpoint; ``None`` where only the state is kept.
        budget: Length of the whole training, over all resumed runs.
        seed: Of steps and noise.
        resume: Go on where an interrupted training stopped.
        start: A checkpoint of the same network to begin from: see :func:`begin_from`.
        recipe, ema_decay: How it is trained, and the decay of the averaged weights.
        loss_weight, targets, coarse, share: See :func:`rs_course.diffusion.process.train`.
        sample_grid: What the checkpoint in a folder draws, for ``samples/STEP.png``.
        compile: Compile the network first, which takes minutes and pays on a GPU.

    Returns:
        The averaged network.
    """
    out, device = Path(out), read_device(None)
    network.to(device)
    if start is not None:
        begin_from(network.unet, start)
    ema = EMA(network, ema_decay)

    def keep(step):
        if save is not None:
            save(ema.module, out)
        if sample_grid is not None:
            write_grid(out, sample_grid, step)

    options = {"loss_weight": loss_weight, "targets": targets, "coarse": coarse, "share": share}
    options["autocast"] = precision.autocast(device.type)
    seen = torch.compile(network) if compile else network
    loss = denoising_loss(seen, schedule(), prediction_type="v", seed=seed, **options)
    options = {"ema": ema, "out": out, "resume": resume, "save": keep}
    training_loop.run(training_loop.fit(network, batches, loss, recipe, budget, **options))
    return ema.module


def begin_from(network: torch.nn.Module, start: str | Path | None, part: str = "unet") -> None:
    """Fill a network with the weights of a checkpoint that it goes on from.

    Attention that the checkpoint does not have begins silent: its output is zero, so that the network does
    what that of the checkpoint would.

    Args:
        network: The new network.
        start: Name or folder of a checkpoint.
        part: Its folder in the checkpoint; ``""`` where the checkpoint is this network alone.

    Raises:
        ValueError: The weights are another network's.
    """
    from rs_course.checkpoints.weights import find_weights, read_state_dict

    known = read_state_dict(find_weights(locate(start) / part))
    own = network.state_dict()
    new = [name for name in own if name not in known]
    if known.keys() - own.keys() or any(own[name].shape != value.shape for name, value in known.items()):
        raise ValueError(
            f"the {part or 'network'} of {start} has other layers than the one to train: start without it."
        )
    silent = [name.removesuffix("proj_out.weight") for name in new if name.endswith(".proj_out.weight")]
    if not all(name.startswith(tuple(silent)) for name in new):
        raise ValueError(
            f"the {part or 'network'} of {start} lacks layers that cannot begin silent: start without it."
        )
    network.load_state_dict(known, strict=False)
    for name in new:
        if ".proj_out." in name:
            own[name].zero_()


def as_it_was(network: TextDenoiser, checkpoint: str | Path) -> TextDenoiser:
    """The network with the UNet of a checkpoint, on its tower's device, to be asked and not to be trained."""
    network.to(network.texts.tower.device)
    begin_from(network.unet, checkpoint)
    return network.eval().requires_grad_(False)


def save_pipeline(
    out: str | Path,
    unet: torch.nn.Module,
    kind: str,
    folders: dict[str, Path],
    text_encoder: torch.nn.Module | None = None,
    scheduler: SchedulerMixin | None = None,
) -> None:
    """Write the networks in half precision, the scheduler, and an index that names the shared parts.

    Args:
        out: Folder of the checkpoint.
        unet: The UNet; it keeps its own precision.
        kind: Class name of the published pipeline.
        folders: Part name to folder, of the parts that other minis share.
        text_encoder: A text tower of its own, where it has learnt with the UNet.
        scheduler: Settings of the scheduler, other than :data:`SCHEDULER`.
    """
    out = Path(out)
    copy.deepcopy(unet).half().save_pretrained(out / "unet")
    if text_encoder is not None:
        copy.deepcopy(text_encoder).half().save_pretrained(out / "text_encoder")
        folders = {part: folder for part, folder in folders.items() if part != "text_encoder"}
    write_index(out, kind, scheduler or SCHEDULER, ["diffusers", type(unet).__name__], folders)


def with_plain_attention(network: torch.nn.Module):
    """The network with attention as two matrix products: on a processor, the backward pass of the fused
    kernel takes half of a step.
    """
    from diffusers.models.attention_processor import Attention, AttnProcessor

    if next(network.parameters()).device.type == "cpu":
        for layer in network.modules():
            if isinstance(layer, Attention):
                layer.set_processor(AttnProcessor())
    return network


def write_index(out: Path, kind: str, scheduler: dict, unet: list, folders: dict[str, Path]) -> None:
    """Write the scheduler's settings and ``model_index.json``.

    Args:
        out: Folder of the checkpoint.
        kind: Class name of the published pipeline.
        scheduler: Settings, with ``_class_name``.
        unet: Library and class of the UNet.
        folders: Part name to folder, of the parts that other minis share. Those that do not lie beside the
            checkpoint, where ``checkpoints.load`` would not go, are copied into it.
    """
    shared = {}
    for part, folder in folders.items():
        if folder.resolve().is_relative_to(out.resolve().parent):
            shared[part] = os.path.relpath(folder, out)
        elif not (out / part).exists():
            shutil.copytree(folder, out / part)
    write_json(out / "scheduler" / "scheduler_config.json", scheduler, indent=2)
    index = {
        "_class_name": kind, "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": unet, "vae": ["diffusers", "AutoencoderKL"], "_shared_parts": shared
    }  # fmt: skip
    write_json(out / "model_index.json", index, indent=2)


# Few steps and some guidance: enough to see what has been learnt, and a second of a processor core.
GRID_SETTINGS = {"steps": 12, "guidance": 3.0, "seed": 0}
# Tiles ``[R N, 3, H, W]`` in [0, 1], row by row, and what each of R rows shows: (label, kind of provenance).
Grid = tuple[torch.Tensor, list[tuple[str, str]]]


def write_grid(out: Path, draw: Callable[[Path], Grid], step: int) -> None:
    """Let the checkpoint in ``out`` draw, and write ``out/samples/STEP.png``."""
    from rs_course import plots

    tiles, rows = draw(out)
    columns = len(tiles) // len(rows)
    badges = [f"{kind} · {out.name}, step {step}" if kind == "generated" else kind for _, kind in rows]
    badges = [badge for badge in badges for _ in range(columns)]
    labels = [label for label, _ in rows]
    figure = plots.tiles(tiles, provenance=badges, columns=columns, scale=0.9, row_labels=labels)
    (out / "samples").mkdir(exist_ok=True)
    figure.savefig(out / "samples" / f"{step:06d}.png")


def of_classes(collection: str, settings: dict = GRID_SETTINGS) -> Callable[[Path], Grid]:
    """One tile of each class of ``"eurosat"`` or ``"simulated"``, by its prompt alone."""

    def draw(out: Path) -> Grid:
        from rs_course import checkpoints, datasets

        prompts = [datasets.class_prompt(k, collection) for k in range(10)]
        return checkpoints.load(out).sample(prompts, **settings), [("each class", "generated")]

    return draw


def beside(shown: dict[str, torch.Tensor], sample: Callable[[Path], torch.Tensor]) -> Callable[[Path], Grid]:
    """What tiles are made from, row by row, above what ``sample(out)`` makes of it.

    Args:
        shown: Label to tiles ``[N, 3, H, W]``, simulated or computed from simulated ones.
        sample: ``[N, 3, H, W]`` from the checkpoint in a folder.
    """
    rows = [(label, "simulated") for label in shown]

    def draw(out: Path) -> Grid:
        return torch.cat([*shown.values(), sample(out)]), [*rows, ("made of it", "generated")]

    return draw
