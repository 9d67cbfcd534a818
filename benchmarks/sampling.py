"""Images per second of the sampling engine beside the plain diffusers loop on the same weights.

    python benchmarks/sampling.py --checkpoint mini-text2earth [--reference eurosat] [--threads 2]
    python benchmarks/sampling.py --checkpoint mini-text2earth --student mini-text2earth-fast
    python benchmarks/sampling.py --checkpoint mini-diffusionsat --full-size --compiled     # on a GPU

``--student`` times a checkpoint that was distilled from it, as it comes, and has FID of it, of the plain loop
and of the teacher in 30 steps.

``--full-size`` takes DiffusionSat's architecture at its own size, 512² pixels, with random weights.

``plain`` is what a user would write with diffusers: fp32 (bf16 on a GPU), DDIM, 50 steps, guidance at every
step, one text pass for both halves. Against it, interleaved in random order with a ratio per round:

    equal steps     the engine at 50 DDIM steps: in fp32 (the same images, checked), in the number type that
                    this processor multiplies faster, and with the guidance interval
    equal quality   the engine as it is meant to be used: that number type, the multistep solver and the
                    fewest steps whose FID to unseen reference tiles is at most 2 % above that of the plain
                    50 steps

both at batch 1 and 16. FID is in the feature space of mini-clip's image tower, the judge is mini-clip-b, and
all runs start from the same noise. Also: seconds for 16 tiles. Writes a key of
``data/results/sampling_speed.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import random
import statistics
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import DDIMScheduler

from rs_course import alignment, checkpoints, datasets, metrics, precision, seeds
from rs_course.checkpoints.checkpoint import Checkpoint
from rs_course.checkpoints.prompts import parse_level
from rs_course.datasets import class_prompt
from rs_course.paths import data_dir

RESULTS = data_dir() / "results" / "sampling_speed.json"
BATCHES = (1, 16)
LADDER = (6, 8, 10, 12, 15, 20, 25, 35, 50)
# Where to guide: of seven intervals tried with mini-text2earth, this one had the lowest FID (0.035 at 25 DDIM
# steps and guidance 3; all of the way 0.060, from 0.2 to 0.8 0.040). FID at the steps of the plain loop, and
# how many tiles a judge recognises, are measured again by each run.
INTERVALS = {"whole": (0.0, 1.0), "interval": (0.3, 0.7)}
ALLOWED = 1.02  # times the FID of the reference


@torch.inference_mode()
def plain(parts, prompts: list[str], x: torch.Tensor, steps: int, guidance: float) -> torch.Tensor:
    """Images ``[N, 3, H, W]`` as ``StableDiffusionPipeline`` makes them, from unit noise ``[N, C, h, w]``."""
    unet, vae = parts.unet, parts.vae
    scheduler = DDIMScheduler.from_config(parts.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(steps, device=unet.device)
    own, texts = conditions(parts, prompts)
    ids = parts.tokenizer(
        [""] * len(texts) + texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    states = parts.text_encoder(ids.to(unet.device))[0]
    x = x.to(unet.device, unet.dtype) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([x, x]), t)
        without, told = unet(both, t, states, **own).sample.chunk(2)
        x = scheduler.step(without + guidance * (told - without), t, x).prev_sample
    return (vae.decode(x / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


def conditions(parts, prompts: list[str]) -> tuple[dict, list[str]]:
    """What else the UNet of a family takes, for both halves, and the texts without a level."""
    if parts.family == "diffusionsat":
        return {"metadata": torch.zeros(2 * len(prompts), 7, device=parts.device)}, prompts
    if parts.family == "text2earth":
        levels, texts = zip(*map(parse_level, prompts), strict=True)
        both = torch.tensor([0.0] * len(levels) + list(levels), device=parts.device)
        return {"class_labels": both}, list(texts)
    return {}, prompts


def class_prompts(count: int, collection: str) -> list[str]:
    """The classes take turns."""
    return [class_prompt(k % 10, collection) for k in range(count)]


def noise(parts, count: int, size: int) -> torch.Tensor:
    side = size // parts.vae_factor
    return seeds.noise((count, parts.vae.config.latent_channels, side, side), seed=0)


def interleaved(functions: dict, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds on the clock and of processor time, ``rounds`` times, in a new random order each round."""
    order, times = random.Random(0), {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name in order.sample(list(functions), len(functions)):
            begin, worked = time.perf_counter(), time.process_time()
            functions[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - begin, time.process_time() - worked))
    return times


def working_memory(function) -> float:
    """GiB of a GPU that a call takes at its peak, over what lies there before it."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def compared(functions: dict, count: int, rounds: int) -> dict:
    """Images per second of each, and how many times ``plain`` that is: median over rounds, and range.

    The ratio of processor times says the same where other programs share the machine.
    """
    times = interleaved(functions, rounds)
    table = {}
    for name, pairs in times.items():
        clock, worked = (
            sorted(p[k] / own[k] for p, own in zip(times["plain"], pairs, strict=True)) for k in (0, 1)
        )
        seconds = statistics.median(wall for wall, _ in pairs)
        table[name] = {
            "seconds": round(seconds, 3),
            "images_per_s": round(count / seconds, 2),
            "times_plain": round(statistics.median(clock), 2),
            "range": [round(clock[0], 2), round(clock[-1], 2)],
            "times_plain_by_processor_time": round(statistics.median(worked), 2),
        }
        if torch.cuda.is_available():
            table[name]["working_memory_gib"] = round(working_memory(functions[name]), 2)
        print(f"  batch {count:2} {name:22} {table[name]}", flush=True)
    return table


def require_equal(parts, args) -> None:
    """Stop if the plain loop and the engine do not compute the same images."""
    prompts, x = class_prompts(2, args.collection), noise(parts, 2, args.size)
    own = parts.sample(
        prompts, latents=x, sampler="ddim", steps=4, guidance=args.guidance, guidance_interval=(0, 1)
    )
    difference = (own - plain(parts, prompts, x, 4, args.guidance)).abs().max().item()
    if difference > 1e-3:
        raise SystemExit(f"The plain loop and the engine are {difference:.4f} apart: no comparison.")


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


def judged(parts, args) -> tuple:
    """A function that makes tiles and returns their FID, the record that it fills, prompts and noise."""
    scorer, judge = (alignment.load(name, cache=False) for name in ("mini-clip", "mini-clip-b"))
    tiles = {split: datasets.load(args.reference, split, size=args.images) for split in ("test", "train")}
    real, others = (
        scorer.image_embeddings(torch.stack([record["image"] for record in split]))
        for split in tiles.values()
    )
    prompts, x = class_prompts(args.images, args.collection), noise(parts, args.images, args.size)
    fid = {"real against real": metrics.fid(real, others)}
    share: dict[str, float] = {}
    record = {
        "images": args.images,
        "features": "mini-clip, image tower",
        "reference tiles": tiles["test"].title,
        "fid": fid,
        "recognised by mini-clip-b": share,
    }

    def recognised(images) -> float:
        guesses = judge.similarity(images, [parse_level(prompt)[1] for prompt in prompts[:10]]).argmax(1)
        return (guesses == torch.arange(len(images)) % 10).float().mean().item()

    def distance(make, name: str) -> float:
        images = torch.cat([make(part).float().cpu() for part in torch.arange(args.images).split(16)])
        fid[name] = metrics.fid(real, scorer.image_embeddings(images))
        share[name] = round(recognised(images), 3)
        print(f"  {name}: FID {fid[name]:.4f}, recognised {share[name]:.3f}", flush=True)
        return fid[name]

    return distance, record, prompts, x


def few_steps(slow, fast, args) -> dict:
    """The student as it comes beside its teacher: FID, how many tiles a judge recognises, and speed."""
    distance, record, prompts, x = judged(slow, args)
    student = checkpoints.load(args.student, device="cpu", dtype=next(fast.unet.parameters()).dtype)

    def sample(engine, part, **setting):
        return engine.sample([prompts[i] for i in part], latents=x[part], size=args.size, **setting)

    distance(
        lambda part: plain(slow, [prompts[i] for i in part], x[part], args.steps, args.guidance),
        f"plain, {args.steps} steps",
    )
    distance(partial(sample, fast, steps=30), "teacher, 30 steps")
    distance(partial(sample, student), f"student, {student.defaults['steps']} steps")
    speed = {}
    for count in BATCHES:
        functions = {
            "plain": partial(plain, slow, prompts[:count], x[:count], args.steps, args.guidance),
            "student": partial(sample, student, torch.arange(count)),
        }
        speed[str(count)] = compared(functions, count, args.rounds)
    return {"student": args.student, **record, "speed": speed}


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

    wanted = distance(
        lambda part: plain(slow, [prompts[i] for i in part], x[part], args.steps, args.guidance),
        f"plain, {args.steps} steps",
    )
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


def provenance(parts, args) -> dict:
    """What was measured, on what."""
    return {
        "what": "images per second, interleaved in random order; times_plain: ratio to plain diffusers",
        "checkpoint": {"name": args.checkpoint, "sha256": parts.card.hash if parts.card else None},
        "architecture": "DiffusionSat, random weights" if args.full_size else repr(parts),
        "guidance": args.guidance,
        "size": args.size,
        "rounds": args.rounds,
        "machine": {
            "cpu": platform.machine(),
            "device": torch.cuda.get_device_name() if args.full_size else "cpu",
            "threads": args.threads,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {name: version(name) for name in ("torch", "diffusers")},
        "date": time.strftime("%Y-%m-%d"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--reference", help="unseen tiles for FID (default: simulated, or eurosat)")
    parser.add_argument("--images", type=int, default=300, help="for FID")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50, help="of the plain loop (default: 50)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--student", help="only compare a checkpoint that was distilled from this one")
    parser.add_argument("--compiled", action="store_true", help="also time a compiled UNet")
    parser.add_argument(
        "--full-size", action="store_true", help="random weights of the published size, on a GPU"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.full_size and not torch.cuda.is_available():
        parser.error("--full-size needs a GPU, and torch sees none.")
    torch.set_num_threads(args.threads)

    parts = checkpoints.load(args.checkpoint, device="cpu", dtype="float32")
    args.guidance = parts.defaults["guidance"]
    args.collection = "eurosat" if parts.family == "text2earth" else "simulated"
    args.reference = args.reference or args.collection
    args.size = 512 if args.full_size else parts.default_size[0]
    if args.full_size:
        parts = full_size(parts)
    slow, fast, variants = contestants(parts, args)
    record = provenance(parts, args)
    if not args.full_size:
        require_equal(parts, args)
    if args.student:
        record["few_steps"] = few_steps(slow, fast, args)
    else:
        record["equal_steps"] = {"steps": args.steps, **equal_steps(slow, variants, args)}
    if not args.full_size and not args.student:
        quality = fewest_steps(slow, fast, args)
        record["equal_quality"] = quality
        if "chosen" in quality:
            quality["speed"] = equal_quality(slow, fast, quality["chosen"], args)
            record["seconds_for_16_tiles"] = quality["speed"]["16"]["engine"]["seconds"]
    name = f"{args.checkpoint}, full size" if args.full_size else args.student or args.checkpoint
    stored = json.loads(args.out.read_text()) if args.out.is_file() else {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({**stored, name: record}, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(record, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
