"""``rs-course train NAME``: train one of the minis that ship with the course.

rs-course train mini-ddpm --minutes 5
rs-course train mini-text2earth --start mini-text2earth --out runs/longer
"""

from importlib import import_module
from inspect import signature
from pathlib import Path

# name: module and function, ``train(out, *, minutes, seed, resume, data)``, that make it
TRAINABLE = {
    "mini-clip": "rs_course.training.clip",
    "mini-clip-b": "rs_course.training.clip:train_b",
    "mini-controlnet": "rs_course.training.controlnet",
    "mini-crsdiff": "rs_course.training.crsdiff",
    "mini-ddpm": "rs_course.training.ddpm",
    "mini-diffusionsat": "rs_course.training.diffusionsat",
    "mini-dscf": "rs_course.training.dscf",
    "mini-landcover": "rs_course.training.landcover",
    "mini-text2earth": "rs_course.training.text2earth",
    "mini-text2earth-fast": "rs_course.training.distillation",
    "mini-text2earth-inpainting": "rs_course.training.text2earth:train_inpainting",
    "mini-vae": "rs_course.training.vae",
    "mini-vae-decoder": "rs_course.training.decoder",
}


def trainer(name: str):
    """The function that trains a mini."""
    module, _, function = TRAINABLE[name].partition(":")
    return getattr(import_module(module), function or "train")


def train_arguments(parser):
    parser.add_argument("name", choices=TRAINABLE, metavar="NAME", help=", ".join(TRAINABLE))
    parser.add_argument(
        "--out", type=Path, help="folder of the model and its training state (default: runs/NAME)"
    )
    parser.add_argument(
        "--minutes", type=float, help="time to train in all (default: as for the shipped weights)"
    )
    parser.add_argument(
        "--batch", type=int, help="images a step (latent minis only; default: small, as a processor likes it)"
    )
    parser.add_argument("--compile", action="store_true", help="compile the network (latent minis, on a GPU)")
    parser.add_argument("--teacher", help="the checkpoint that mini-text2earth-fast is distilled from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data", help="the real data set: a name, folder or archive (default: the registry's)"
    )
    parser.add_argument(
        "--start", help="a checkpoint of the same network to go on from (generators only; default: none)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start again although an unfinished training lies there"
    )


def train(args):
    if args.minutes is not None and args.minutes <= 0:
        raise ValueError(f"--minutes {args.minutes}: give a time above zero.")
    out = args.out or Path("runs") / args.name
    chosen = {
        "minutes": args.minutes, "data": args.data, "start": args.start, "batch_size": args.batch,
        "teacher": args.teacher, "compile": args.compile or None,
    }  # fmt: skip
    chosen = {key: value for key, value in chosen.items() if value is not None}
    train = trainer(args.name)
    known = signature(train).parameters
    if args.start and "start" not in known:
        raise ValueError(f"{args.name} has no --start: only latent minis go on from weights.")
    if args.teacher and "teacher" not in known:
        raise ValueError(f"{args.name} has no --teacher: only mini-text2earth-fast is distilled.")
    if args.compile and "options" not in known:
        raise ValueError(f"--compile is for the latent minis, not for {args.name}.")
    if args.batch is not None and (args.batch < 4 or "batch_size" not in known):
        raise ValueError(f"--batch {args.batch}: a number from 4 on, and for the latent minis only.")
    train(out, seed=args.seed, resume=not args.fresh, **chosen)
    print(f"train: {args.name} lies in {out}")
