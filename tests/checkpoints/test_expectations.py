"""Numbers to keep: what tiny models with weights made by a formula produce.

``expectations.json`` was written by this module (``python -m checkpoints.test_expectations`` in ``tests/``)
at a time when every official array of the fixtures was reproduced. So the proof survives where the fixtures
are not at hand.
"""

import json
from pathlib import Path

import pytest
import torch
from checkpoints.tiny import write_checkpoint, write_controlnet, write_crsdiff

from rs_course import checkpoints

FILE = Path(__file__).parent / "expectations.json"
PLACE = {"lon": 153.32, "lat": -27.86, "gsd": 0.411, "cloud_cover": 0.0, "year": 2017, "month": 2, "day": 11}


def ramp(*shape) -> torch.Tensor:
    """Numbers in [0, 1] that need no random generator."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) * 0.618034 % 1).reshape(shape)


NOISE = torch.erfinv(ramp(2, 4, 8, 8) * 1.98 - 0.99) * 2**0.5
ASK = {"latents": NOISE, "steps": 4, "negative_prompt": "clouds"}
PICTURE, MASK = ramp(1, 3, 16, 16), ramp(1, 1, 16, 16)


def generator(root: Path, name: str):
    if name == "crsdiff":
        return checkpoints.load(write_crsdiff(root / name))
    if not name.startswith("controlnet"):
        return checkpoints.load(write_checkpoint(root / name, name))
    temporal = name == "controlnet3d"
    wide = {"block_out_channels": [32, 32]} if temporal else {}
    net = (
        {**wide, "use_temporal_transformer": True, "temporal": True}
        if temporal
        else {"conditioning_scale": 4}
    )
    base = write_checkpoint(root / "base", "diffusionsat", wide)
    return checkpoints.load(base, controlnet=write_controlnet(root / name, **net))


CASES = {
    "stable-diffusion": {},
    "diffusionsat": {"metadata": [PLACE, {**PLACE, "month": 8}]},
    "text2earth": {
        "prompts": ["16_GOOGLE_LEVEL_a lake", "a field"],
        "image": PICTURE,
        "mask": MASK,
        "strength": 0.7,
    },
    "text2earth-inpainting": {
        "prompts": ["16_GOOGLE_LEVEL_a lake", "a field"],
        "image": PICTURE,
        "mask": MASK,
    },
    "controlnet": {"metadata": PLACE, "cond_metadata": {**PLACE, "gsd": 10.0}, "image": ramp(1, 3, 16, 16)},
    "controlnet3d": {
        "metadata": PLACE,
        "cond_metadata": [PLACE, {**PLACE, "year": 2012}, {}],
        "image": [ramp(3, 64, 64), 1 - ramp(3, 64, 64), ramp(3, 64, 64) ** 2],
    },
    "crsdiff": {
        "metadata": PLACE,
        "conditions": {
            "road": ramp(1, 3, 32, 32).round(),
            "depth": ramp(1, 3, 32, 32),
            "content": ramp(1, 32),
        },
        "control_strength": 0.8,
    },
}
SAMPLERS = (None, "ddpm", "euler", "dpmsolver++", "unipc")


def numbers(latents: torch.Tensor) -> list[float]:
    """Mean, spread and a few values of latents."""
    picked = latents.flatten()[:: latents.numel() // 6]
    return [round(value, 5) for value in (latents.mean().item(), latents.std().item(), *picked.tolist())]


def measure(root: Path, name: str) -> dict[str, list[float]]:
    loaded = generator(root, name)
    arguments = {"prompts": ["a lake", "a field"], **ASK, **CASES[name]}
    prompts = arguments.pop("prompts")
    found = {}
    samplers = SAMPLERS if name in ("diffusionsat", "crsdiff") else (None,)
    for sampler in samplers:
        latents = loaded.sample(prompts, sampler=sampler, output="latent", **arguments)
        found[str(sampler)] = numbers(latents)
    found["image"] = numbers(loaded.sample(prompts, **arguments))
    return found


@pytest.mark.parametrize("name", CASES)
def test_numbers(name, tmp_path):
    expected = json.loads(FILE.read_text())[name]
    found = measure(tmp_path, name)
    assert found.keys() == expected.keys()
    for quantity, values in expected.items():
        scale = max(abs(value) for value in values)
        assert found[quantity] == pytest.approx(values, abs=1e-3 * scale)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        measured = {name: measure(Path(folder) / name, name) for name in CASES}
    rows = {
        name: ",\n  ".join(f'"{key}": {row}' for key, row in found.items())
        for name, found in measured.items()
    }
    FILE.write_text(
        "{\n" + ",\n".join(f' "{name}": {{\n  {row}\n }}' for name, row in rows.items()) + "\n}\n"
    )
