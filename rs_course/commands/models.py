"""Generators: make a data set with one, or write one in another form."""

from pathlib import Path


def generate_arguments(parser):
    parser.add_argument(
        "prompts",
        metavar="PROMPTS",
        help="a .txt, .jsonl, .csv or .parquet file, classes:simulated (eurosat, fmow), or captions:DATASET",
    )
    parser.add_argument("--checkpoint", required=True, metavar="NAME", help="name or folder of a generator")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the Parquet shards")
    parser.add_argument(
        "--per-prompt",
        "--per-class",
        type=int,
        default=1,
        metavar="N",
        help="images for each prompt (default: 1)",
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or several (default: 0)")
    parser.add_argument("--steps", type=int, help="sampler steps")
    parser.add_argument("--guidance", type=float, help="guidance scale; 1 turns guidance off")
    parser.add_argument(
        "--guidance-interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help="guide only for t/T between"
    )
    parser.add_argument("--sampler", help="ddim, ddpm, euler, dpmsolver++, sde-dpmsolver++ or unipc")
    parser.add_argument("--eta", type=float, help="share of DDPM's noise that ddim adds back, 0 to 1")
    parser.add_argument("--size", type=int, nargs="+", metavar="PIXELS", help="side, or height and width")
    parser.add_argument("--negative-prompt", help="what guidance pushes away from")
    parser.add_argument("--workers", type=int, help="processes here (default: one per GPU, else one)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster, e.g. tcp://host:8786")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16")
    parser.add_argument("--compile", dest="compiled", action="store_true", help="compile the UNet first")
    parser.add_argument("--batch-size", type=int, help="images per pass (default: what memory allows)")
    parser.add_argument("--shard-size", type=int, default=64, help="images per file (default: 64)")


def generate(args):
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


def convert_arguments(parser):
    parser.add_argument("source", metavar="SRC", help="folder, file or name of a checkpoint or ControlNet")
    parser.add_argument("target", metavar="DST", type=Path, help="folder to write; must not exist yet")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "bfloat16"),
        help="type of the stored weights (default: float32)",
    )


def convert(args):
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


def opens_where(checkpoint) -> str:
    """What plain diffusers can do with the folder."""
    if checkpoint.family == "stable-diffusion":
        return "opens with diffusers.StableDiffusionPipeline.from_pretrained."
    if checkpoint.family == "diffusionsat":
        return "diffusers opens all parts but the UNet, which is rs_course.checkpoints.satunet.SatUNet."
    if checkpoint.family == "crsdiff":
        return "diffusers opens the Stable Diffusion parts; the adapters are rs_course.checkpoints.crsdiff."
    return "opens with diffusers, whose pipeline must be told the level as the UNet's class_labels."


def export_arguments(parser):
    parser.add_argument("checkpoint", help="a name such as mini-diffusionsat, a folder, or a hub id")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for denoiser, decoder and generator.json"
    )
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[4, 6, 8, 12], help="numbers of sampler steps"
    )
    parser.add_argument(
        "--classes",
        default="simulated",
        help="collection whose class prompts are encoded (default: simulated)",
    )


def export(args):
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
