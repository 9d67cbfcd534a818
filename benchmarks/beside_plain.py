"""What the measurements of sampling speed share: the plain diffusers loop, rounds in random order, and FID.

``plain`` is what a user would write with diffusers: fp32 (bf16 on a GPU), DDIM, 50 steps, guidance at every
step, one text pass for both halves. FID is in the feature space of mini-clip's image tower, the judge is
mini-clip-b, and all runs start from the same noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import DDIMScheduler

from rs_course import alignment, datasets, metrics, seeds
from rs_course.checkpoints.prompts import parse_level
from rs_course.datasets import class_prompt
from rs_course.files import write_json
from rs_course.paths import data_dir

BATCHES = (1, 16)


def parser(title: str) -> argparse.ArgumentParser:
    """The arguments of every such measurement."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--reference", help="unseen tiles for FID (default: simulated, or eurosat)")
    parser.add_argument("--images", type=int, default=300, help="for FID")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50, help="of the plain loop (default: 50)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=data_dir() / "results" / "sampling_speed.json")
    return parser


def complete(args, parts) -> None:
    """Fill in what follows from the checkpoint: guidance, class prompts, reference tiles and size."""
    torch.set_num_threads(args.threads)
    args.guidance = parts.defaults["guidance"]
    args.collection = "eurosat" if parts.family == "text2earth" else "simulated"
    args.reference = args.reference or args.collection
    args.size = parts.default_size[0]


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


def judged(parts, args) -> tuple:
    """A function that makes tiles and returns their FID, the record that it fills, prompts and noise.

    The record begins with the plain loop, which everything else is measured against.
    """
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

    distance(
        lambda part: plain(parts, [prompts[i] for i in part], x[part], args.steps, args.guidance),
        f"plain, {args.steps} steps",
    )
    return distance, record, prompts, x


def provenance(parts, args) -> dict:
    """What was measured, on what."""
    return {
        "what": "images per second, interleaved in random order; times_plain: ratio to plain diffusers",
        "checkpoint": {"name": args.checkpoint, "sha256": parts.card.hash if parts.card else None},
        "architecture": repr(parts),
        "guidance": args.guidance,
        "size": args.size,
        "rounds": args.rounds,
        "machine": {
            "cpu": platform.machine(),
            "device": torch.cuda.get_device_name() if parts.device.type == "cuda" else "cpu",
            "threads": args.threads,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {name: version(name) for name in ("torch", "diffusers")},
        "date": time.strftime("%Y-%m-%d"),
    }


def write(out: Path, name: str, record: dict) -> None:
    """One key of a file of results; the others stay."""
    stored = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    write_json(out, {**stored, name: record}, ensure_ascii=False)
    print(json.dumps(record, indent=1, ensure_ascii=False))
