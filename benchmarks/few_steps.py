"""A student of few steps beside its teacher and the plain diffusers loop: FID, recognition and speed.

    python benchmarks/few_steps.py --checkpoint mini-text2earth --student mini-text2earth-fast [--threads 1]

The student is taken as it comes, its teacher in 30 steps, the plain loop in 50, interleaved in random order,
at batch 1 and 16. Writes a key of ``data/results/sampling_speed.json``.
"""

from __future__ import annotations

from functools import partial

import torch
from beside_plain import (
    BATCHES,
    compared,
    complete,
    judged,
    parser,
    plain,
    provenance,
    require_equal,
    write,
)

from rs_course import checkpoints, precision


def beside_teacher(slow, args) -> dict:
    """The student as it comes beside its teacher: FID, how many tiles a judge recognises, and speed."""
    distance, record, prompts, x = judged(slow, args)
    kind = precision.autocast() or torch.float32  # what this processor multiplies faster
    teacher, student = (
        checkpoints.load(name, device="cpu", dtype=kind) for name in (args.checkpoint, args.student)
    )

    def sample(engine, part, **setting):
        return engine.sample([prompts[i] for i in part], latents=x[part], size=args.size, **setting)

    distance(partial(sample, teacher, steps=30), "teacher, 30 steps")
    distance(partial(sample, student), f"student, {student.defaults['steps']} steps")
    speed = {}
    for count in BATCHES:
        functions = {
            "plain": partial(plain, slow, prompts[:count], x[:count], args.steps, args.guidance),
            "student": partial(sample, student, torch.arange(count)),
        }
        speed[str(count)] = compared(functions, count, args.rounds)
    return {"student": args.student, **record, "speed": speed}


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--student", required=True, help="a checkpoint that was distilled from --checkpoint")
    args = options.parse_args()
    parts = checkpoints.load(args.checkpoint, device="cpu", dtype="float32")
    complete(args, parts)
    require_equal(parts, args)
    write(args.out, args.student, {**provenance(parts, args), "few_steps": beside_teacher(parts, args)})


if __name__ == "__main__":
    main()
