"""Images per second of the sampling engine beside the plain diffusers loop on the same weights.

    python benchmarks/sampling.py --checkpoint mini-text2earth [--reference eurosat] [--threads 2]
    python benchmarks/sampling.py --checkpoint mini-diffusionsat --full-size --compiled     # on a GPU

``--full-size`` takes DiffusionSat's architecture at its own size, 512² pixels, with random weights.

Against the plain loop (``beside_plain.py``), interleaved in random order with a ratio per round:

    equal steps     the engine at 50 DDIM steps: in fp32 (the same images, checked), in the number type that
                    this processor multiplies faster, and with the guidance interval
    equal quality   the engine as it is meant to be used: that number type, the multistep solver and the
                    fewest steps whose FID to unseen reference tiles is at most 2 % above that of the plain
                    50 steps

both at batch 1 and 16. Also: seconds for 16 tiles. Writes a key of ``data/results/sampling_speed.json``.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial

import torch
from beside_plain import (
    BATCHES,
    class_prompts,
    compared,
    complete,
    judged,
    noise,
    parser,
    plain,
    provenance,
    require_equal,
    write,
)

from rs_course import checkpoints, precision
from rs_course.checkpoints.checkpoint import Checkpoint

LADDER = (6, 8, 10, 12, 15, 20, 25, 35, 50)
# Where to guide: of seven intervals tried with mini-text2earth, this one had the lowest FID (0.035 at 25 DDIM
# steps and guidance 3; all of the way 0.060, from 0.2 to 0.8 0.040). FID at the steps of the plain loop, and
# how many tiles a judge recognises, are measured again by each run.
INTERVALS = {"whole": (0.0, 1.0), "interval": (0.3, 0.7)}
ALLOWED = 1.02  # times the FID of the reference


def equal_steps(slow, variants: dict, args) -> dict:
    """The engine's variants beside the plain loop, at the same steps."""
    result = {}
    for count in BATCHES:
        prompts, x = class_prompts(count, args.collection), noise(slow, count, args.size)
        functions = {"plain": partial(plain, slow, prompts, x, args.steps, args.guidance)}
        for name, (engine, options) in variants.items():
            functions[name] = partial(
                engine.sample, prompts, latents=x, sampler="ddim", steps=args.steps,
                guidance=args.guidance, size=args.size, **options,
            )  # fmt: skip
        result[str(count)] = compared(functions, count, args.rounds)
    return result


def fewest_steps(slow, fast, args) -> dict:
    """FID of the reference and of the engine's settings, and how many tiles of each a judge recognises; the
    cheapest setting within ``ALLOWED``.

    Settings are tried from the cheapest on, by evaluations of the UNet per image, and the search ends at the
    first that is good enough.
    """
    distance, record, prompts, x = judged(slow, args)

    def engine(part, **setting):
        return fast.sample(
            [prompts[i] for i in part], latents=x[part], guidance=args.guidance, size=args.size, **setting
        )

    wanted = record["fid"][f"plain, {args.steps} steps"]
    same = {"sampler": "ddim", "steps": args.steps, "guidance_interval": INTERVALS["interval"]}
    distance(partial(engine, **same), json.dumps(same))
    settings = [
        {"sampler": sampler, "steps": steps, "guidance_interval": interval}
        for steps in LADDER
        for sampler in ("dpmsolver++", "unipc")
        for interval in INTERVALS.values()
    ]
    for setting in sorted(settings, key=evaluations):
        if distance(partial(engine, **setting), json.dumps(setting)) <= ALLOWED * wanted:
            return {**record, "chosen": setting}
    return record


def evaluations(setting: dict) -> float:
    """Evaluations of the UNet per image; inside the interval guidance needs two a step."""
    low, high = setting["guidance_interval"]
    return setting["steps"] * (1 + high - low)


def equal_quality(slow, fast, chosen: dict, args) -> dict:
    """The plain 50 steps beside the engine at the chosen setting."""
    result = {}
    for count in BATCHES:
        prompts, x = class_prompts(count, args.collection), noise(slow, count, args.size)
        functions = {
            "plain": partial(plain, slow, prompts, x, args.steps, args.guidance),
            "engine": partial(
                fast.sample, prompts, latents=x, guidance=args.guidance, size=args.size, **chosen
            ),
        }
        result[str(count)] = compared(functions, count, args.rounds)
    return result


def full_size(parts) -> Checkpoint:
    """DiffusionSat at its own size (SD 2.1's, and metadata), with random weights and ``parts``' tokenizer."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    from rs_course.checkpoints.diffusionsat import SatUNet

    torch.manual_seed(0)
    blocks = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4}
    text = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
    }
    sides = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    with torch.device("cuda"):
        vae = AutoencoderKL(**blocks, **sides)
        unet = SatUNet(
            sample_size=64,
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        )
        text_encoder = CLIPTextModel(CLIPTextConfig(**text, vocab_size=len(parts.tokenizer)))
    modules = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
    for module in modules.values():
        module.requires_grad_(False).eval()
    return Checkpoint("diffusionsat", **modules, tokenizer=parts.tokenizer, scheduler=parts.scheduler)


def in_precision(parts, args, dtype: torch.dtype, channels_last: bool = False) -> Checkpoint:
    """The same weights in another number type and layout."""
    if not args.full_size:
        return checkpoints.load(args.checkpoint, device="cpu", dtype=dtype)
    layout = torch.channels_last if channels_last else torch.preserve_format
    modules = {
        name: copy.deepcopy(part).to(dtype=dtype, memory_format=layout)
        for name, part in parts.modules().items()
    }
    return replace(parts, **modules)


def contestants(parts, args) -> tuple[Checkpoint, Checkpoint, dict]:
    """Weights of the plain loop, of the engine, and the engine's variants with their settings."""
    whole, interval = ({"guidance_interval": bounds} for bounds in INTERVALS.values())
    if args.full_size:
        kind, variants = torch.bfloat16, {}
        slow = in_precision(parts, args, kind)
        fast = in_precision(parts, args, kind, channels_last=True)
    else:
        slow, variants = parts, {"float32": (parts, whole)}
        kind = precision.autocast() or torch.float32  # what this processor multiplies faster
        fast = in_precision(parts, args, kind)
    name = str(kind).removeprefix("torch.")
    variants |= {name: (fast, whole), f"{name}, interval": (fast, interval)}
    if args.compiled:
        compiled = in_precision(parts, args, kind, args.full_size).compile()
        variants |= {
            f"{name}, compiled": (compiled, whole),
            f"{name}, interval, compiled": (compiled, interval),
        }
    return slow, fast, variants


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--compiled", action="store_true", help="also time a compiled UNet")
    options.add_argument(
        "--full-size", action="store_true", help="random weights of the published size, on a GPU"
    )
    args = options.parse_args()
    if args.full_size and not torch.cuda.is_available():
        options.error("--full-size needs a GPU, and torch sees none.")

    parts = checkpoints.load(args.checkpoint, device="cpu", dtype="float32")
    complete(args, parts)
    if args.full_size:
        args.size, parts = 512, full_size(parts)
    slow, fast, variants = contestants(parts, args)
    record = provenance(parts, args)
    if args.full_size:
        record["architecture"] = "DiffusionSat, random weights"
    else:
        require_equal(parts, args)
    record["equal_steps"] = {"steps": args.steps, **equal_steps(slow, variants, args)}
    if not args.full_size:
        quality = fewest_steps(slow, fast, args)
        record["equal_quality"] = quality
        if "chosen" in quality:
            quality["speed"] = equal_quality(slow, fast, quality["chosen"], args)
            record["seconds_for_16_tiles"] = quality["speed"]["16"]["engine"]["seconds"]
    write(args.out, f"{args.checkpoint}, full size" if args.full_size else args.checkpoint, record)


if __name__ == "__main__":
    main()
