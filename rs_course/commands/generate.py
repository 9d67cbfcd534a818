"""``rs-course generate PROMPTS --checkpoint NAME --out DIR``: make a data set with a generator.

    rs-course generate classes:eurosat --checkpoint mini-text2earth --per-class 100 --out runs/eurosat-like
    rs-course generate captions.jsonl --checkpoint diffusionsat-512 --seed 0 1 --out /data/fmow-like
    rs-course generate prompts.csv --checkpoint text2earth --scheduler tcp://host:8786 --out /data/set

The same command goes on where an interrupted one stopped. The sources of prompts stand in
``rs_course.generation.prompts``.
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument(
        "prompts",
        metavar="PROMPTS",
        help="a .txt, .jsonl, .csv or .parquet file, classes:eurosat, classes:simulated, or captions:DATASET",
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


def run(args):
    from rs_course.generation import generate

    given = {name: value for name, value in vars(args).items() if name not in ("command", "run", "prompts")}
    if args.size and len(args.size) == 1:
        given["size"] = args.size * 2
    data = generate(args.prompts, progress=True, **given)
    print(f"generate: {len(data)} images lie in {args.out}")
