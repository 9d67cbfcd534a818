"""What a researcher does: make data sets, train and convert generators, run and weigh studies."""

from __future__ import annotations

import os
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from rs_course.checkpoints.checkpoint import Checkpoint


def generate_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course generate``."""
    add = parser.add_argument
    add(
        "prompts",
        metavar="PROMPTS",
        help="a .txt, .jsonl, .csv or .parquet file, classes:simulated (eurosat, fmow), or captions:DATASET",
    )
    add("--checkpoint", required=True, metavar="NAME", help="name or folder of a generator")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the Parquet shards")
    add(
        "--per-prompt", "--per-class", type=int, default=1, metavar="N",
        help="images for each prompt (default: 1)",
    )  # fmt: skip
    add("--seed", type=int, nargs="+", default=[0], help="one or several (default: 0)")
    add("--steps", type=int, help="sampler steps")
    add("--guidance", type=float, help="guidance scale; 1 turns guidance off")
    add(
        "--guidance-interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help="guide only for t/T between"
    )
    add("--sampler", help="ddim, ddpm, euler, dpmsolver++, sde-dpmsolver++ or unipc")
    add("--eta", type=float, help="share of DDPM's noise that ddim adds back, 0 to 1")
    add("--size", type=int, nargs="+", metavar="PIXELS", help="side, or height and width")
    add("--negative-prompt", help="what guidance pushes away from")
    add("--workers", type=int, help="processes here (default: one per GPU, else one)")
    add("--scheduler", metavar="ADDRESS", help="a Dask cluster, e.g. tcp://host:8786")
    add("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    add("--dtype", help="float32, bfloat16 or float16")
    add("--compile", dest="compiled", action="store_true", help="compile the UNet first")
    add("--batch-size", type=int, help="images per pass (default: what memory allows)")
    add("--shard-size", type=int, default=64, help="images per file (default: 64)")


def generate(args: argparse.Namespace):
    """``rs-course generate PROMPTS --checkpoint NAME --out DIR``: make a data set with a generator.

        rs-course generate classes:eurosat --checkpoint mini-text2earth --per-class 100 --out runs/eurosat
        rs-course generate captions.jsonl --checkpoint diffusionsat-512 --seed 0 1 --out /data/fmow-like
        rs-course generate prompts.csv --checkpoint text2earth --scheduler tcp://host:8786 --out /data/set

    The same command goes on where an interrupted one stopped. The sources of prompts stand in
    ``rs_course.generation.prompts``.
    """
    from rs_course.generation import generate

    given = {name: value for name, value in vars(args).items() if name not in ("command", "run", "prompts")}
    if args.size and len(args.size) == 1:
        given["size"] = args.size * 2
    data = generate(args.prompts, progress=True, **given)
    print(f"generate: {len(data)} images lie in {args.out}")


# name: module and function, ``train(out, *, minutes, seed, resume, data)``, that make it
TRAINABLE = {
    "mini-clip": "rs_course.training.clip",
    "mini-clip-b": "rs_course.training.clip:train_b",
    "mini-controlnet": "rs_course.training.controlnet:train",
    "mini-crsdiff": "rs_course.training.crsdiff",
    "mini-ddpm": "rs_course.training.ddpm",
    "mini-diffusionsat": "rs_course.training.diffusionsat",
    "mini-dscf": "rs_course.training.dscf",
    "mini-landcover": "rs_course.training.landcover",
    "mini-text2earth": "rs_course.training.text2earth",
    "mini-text2earth-fast": "rs_course.training.text2earth:train_fast",
    "mini-text2earth-inpainting": "rs_course.training.text2earth:train_inpainting",
    "mini-vae": "rs_course.training.vae",
    "mini-vae-decoder": "rs_course.training.vae:train_decoder",
}


def trainer(name: str):
    """The function that trains a mini."""
    module, _, function = TRAINABLE[name].partition(":")
    return getattr(import_module(module), function or "train")


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course train``."""
    add = parser.add_argument
    add("name", choices=TRAINABLE, metavar="NAME", help=", ".join(TRAINABLE))
    add("--out", type=Path, help="folder of the model and its training state (default: runs/NAME)")
    add("--minutes", type=float, help="time to train in all (default: as for the shipped weights)")
    add(
        "--batch-size",
        "--batch",
        type=int,
        help="images a step (generators only; default: small, as a processor likes it)",
    )
    add("--compile", action="store_true", help="compile the network (latent minis, on a GPU)")
    add("--teacher", help="the checkpoint that mini-text2earth-fast is distilled from")
    add("--seed", type=int, default=0)
    add("--data", help="the real data set: a name, folder or archive (default: the registry's)")
    add("--start", help="a checkpoint of the same network to go on from (generators only; default: none)")
    add("--fresh", action="store_true", help="start again although an unfinished training lies there")


def train(args: argparse.Namespace):
    """``rs-course train NAME``: train one of the minis that ship with the course.

    rs-course train mini-ddpm --minutes 5
    rs-course train mini-text2earth --start mini-text2earth --out runs/longer
    """
    if args.minutes is not None and args.minutes <= 0:
        raise ValueError(f"--minutes {args.minutes}: give a time above zero.")
    out = args.out or Path("runs") / args.name
    chosen = {
        "minutes": args.minutes, "data": args.data, "start": args.start, "batch_size": args.batch_size,
        "teacher": args.teacher, "compile": args.compile or None,
    }  # fmt: skip
    chosen = {key: value for key, value in chosen.items() if value is not None}
    train = trainer(args.name)
    known = signature(train).parameters
    if args.start and "start" not in known:
        raise ValueError(f"{args.name} has no --start: only generators go on from weights.")
    if args.teacher and "teacher" not in known:
        raise ValueError(f"{args.name} has no --teacher: only mini-text2earth-fast is distilled.")
    if args.compile and "options" not in known:
        raise ValueError(f"--compile is for the latent minis, not for {args.name}.")
    if args.batch_size is not None and "batch_size" not in known:
        raise ValueError(f"{args.name} has no --batch-size: its recipe fixes it.")
    if args.batch_size is not None and args.batch_size < 4:
        raise ValueError(f"--batch-size {args.batch_size}: give a number from 4 on.")
    train(out, seed=args.seed, resume=not args.fresh, **chosen)
    print(f"train: {args.name} lies in {out}")


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course convert``."""
    parser.add_argument("source", metavar="SRC", help="folder, file or name of a checkpoint or ControlNet")
    parser.add_argument("target", metavar="DST", type=Path, help="folder to write; must not exist yet")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "float16", "bfloat16"),
        help="type of the stored weights (default: float32)",
    )  # fmt: skip


def convert(args: argparse.Namespace):
    """``rs-course convert SRC DST``: a published checkpoint as a clean folder of safetensors.

    rs-course convert last.ckpt runs/crsdiff
    rs-course convert text2earth runs/text2earth-half --dtype float16
    """
    import torch

    from rs_course.checkpoints import load
    from rs_course.checkpoints.export import write_checkpoint, write_controlnet
    from rs_course.checkpoints.loading import locate

    source = locate(args.source)
    if is_controlnet(source):
        write_controlnet(source, args.target, getattr(torch, args.dtype))
        print(f"Wrote {args.target}: pass it to load(...) as controlnet=.")
        return
    checkpoint = load(source, device="cpu", dtype=args.dtype)
    write_checkpoint(checkpoint, args.target)
    print(f"Wrote {args.target} ({checkpoint.family}): {opens_where(checkpoint)}")


def is_controlnet(source: Path) -> bool:
    """Whether a folder holds ControlNets and no generator around them."""
    from rs_course.checkpoints.layout import controlnet_folders
    from rs_course.checkpoints.weights import read_json

    if not source.is_dir() or (source / "vae").is_dir():
        return False
    try:
        config = read_json(controlnet_folders(source)[0] / "config.json")
    except FileNotFoundError:
        return False
    return str(config.get("_class_name", "")).startswith("ControlNet")


def opens_where(checkpoint: Checkpoint) -> str:
    """What plain diffusers can do with the folder."""
    if checkpoint.family == "stable-diffusion":
        return "opens with diffusers.StableDiffusionPipeline.from_pretrained."
    if checkpoint.family == "diffusionsat":
        return "diffusers opens all parts but the UNet, which is rs_course.checkpoints.diffusionsat.SatUNet."
    if checkpoint.family == "crsdiff":
        return "diffusers opens the Stable Diffusion parts; the adapters are rs_course.checkpoints.crsdiff."
    return "opens with diffusers, whose pipeline must be told the level as the UNet's class_labels."


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course export``."""
    add = parser.add_argument
    add("checkpoint", help="a name such as mini-diffusionsat, a folder, or a hub id")
    add("--out", type=Path, required=True, help="folder for denoiser, decoder and generator.json")
    add("--steps", type=int, nargs="+", default=[4, 6, 8, 12], help="numbers of sampler steps")
    add(
        "--classes",
        default="simulated",
        help="collection whose class prompts are encoded (default: simulated)",
    )


def export(args: argparse.Namespace):
    """``rs-course export NAME --out DIR``: a generator as ONNX graphs and a JSON, to use without Python.

    rs-course export mini-text2earth --out build/onnx
    rs-course export mini-diffusionsat --steps 6 12 --out build/sat
    """
    from rs_course import checkpoints, datasets, simulated_earth
    from rs_course.checkpoints.export import export

    if min(args.steps) < 1:
        raise ValueError(f"--steps {min(args.steps)}: give numbers from 1 on.")
    prompts = {label: datasets.class_prompt(label, args.classes) for label in simulated_earth.CLASSES}
    name = Path(args.checkpoint).name
    path = export(checkpoints.load(args.checkpoint), args.out, name=name, prompts=prompts, steps=args.steps)
    print(f"export: {name} as ONNX, described in {path}")


def study_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course study``."""
    add = parser.add_argument
    add("config", help="a TOML file, or the name of one in data/studies")
    add("--out", type=Path, help="folder of the records and the ledger (default: runs/CONFIG)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, default=0, help="local worker processes (default: this process)"
    )
    where.add_argument("--scheduler", help="address of a Dask scheduler, such as tcp://10.0.0.1:8786")
    add(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="changes",
        help="change a value of the file by its dotted name: -p base.seed 7; may be repeated",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="say how many tasks there are and what they cost, and stop")


def study(args: argparse.Namespace):
    """``rs-course study``: run a grid of experiments into one ledger.

        rs-course study is_it_ready --out runs/is_it_ready --workers 2
        rs-course study my_study.toml --out runs/mine --scheduler tcp://10.0.0.1:8786

    What is finished is kept: after an interruption, of any kind, the same command goes on.
    """
    # One thread per task; libraries read this when they are loaded, which is after this line.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rs_course import jobs, study
    from rs_course.study.plan import cost_table

    plan = study.read(args.config, {name: _value(text) for name, text in args.changes})
    if args.dry_run:
        print(cost_table(plan))
        return
    out = args.out or Path("runs") / Path(args.config).stem
    ledger = study.run(
        plan, out, workers=args.workers, scheduler=args.scheduler, progress=jobs.print_progress
    )
    print(f"study: {len(ledger)} rows in {out / 'ledger.parquet'}")
    print(f"       rs-course report {out}  weighs them")


def _value(text: str):
    """A number, truth or list as TOML writes it, otherwise the text itself."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course report``."""
    parser.add_argument("folder", type=Path, help="folder of a study: what `rs-course study --out` wrote")
    parser.add_argument(
        "--out", type=Path,
        help="where to write (default: report/ in that folder; of a shipped study, runs/NAME/report)",
    )  # fmt: skip


def report(args: argparse.Namespace):
    """``rs-course report DIR``: weigh a study: figures and a one-page summary with the answer.

    rs-course report runs/is_it_ready
    """
    from rs_course.study import finished, report

    page, found = report.write(args.folder, args.out), finished(args.folder)
    print(*(found.answers().values() or found.verdicts), sep="\n")
    print(f"report: {page}")
