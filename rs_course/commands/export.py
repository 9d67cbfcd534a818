"""``rs-course export NAME --out DIR``: a generator as ONNX graphs and a JSON, for programs without Python.

rs-course export mini-text2earth --out build/onnx
rs-course export mini-diffusionsat --steps 6 12 --out build/sat
"""

from pathlib import Path


def add_arguments(parser):
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


def run(args):
    from rs_course import checkpoints, datasets, simulated_earth
    from rs_course.checkpoints.export import export

    if min(args.steps) < 1:
        raise ValueError(f"--steps {min(args.steps)}: give numbers from 1 on.")
    prompts = {label: datasets.class_prompt(label, args.classes) for label in simulated_earth.CLASSES}
    name = Path(args.checkpoint).name
    path = export(checkpoints.load(args.checkpoint), args.out, name=name, prompts=prompts, steps=args.steps)
    print(f"export: {name} as ONNX, described in {path}")
