"""``rs-course convert SRC DST``: a published checkpoint as a clean folder of safetensors.

rs-course convert last.ckpt runs/crsdiff
rs-course convert text2earth runs/text2earth-half --dtype float16
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("source", metavar="SRC", help="folder, file or name of a checkpoint or ControlNet")
    parser.add_argument("target", metavar="DST", type=Path, help="folder to write; must not exist yet")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "bfloat16"),
        help="type of the stored weights (default: float32)",
    )


def run(args):
    import torch

    from rs_course.checkpoints import load
    from rs_course.checkpoints.convert import write_checkpoint, write_controlnet
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
