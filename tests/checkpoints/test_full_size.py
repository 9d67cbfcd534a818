"""The published models at their full size, on the meta device: keys, shapes and numbers of parameters."""

import gzip
import hashlib
import json

import pytest
import torch
from checkpoints.golden import FIXTURES

SD2 = {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "use_linear_projection": True}


def builders() -> dict:
    """Functions that build each network: DiffusionSat and Text2Earth by their configurations, CRS-Diff by the
    one that the loader falls back to.
    """
    from diffusers import UNet2DConditionModel

    from rs_course.checkpoints import legacy
    from rs_course.checkpoints.diffusionsat import SatControlNet, SatControlNet3D, SatUNet

    own = legacy.builders(legacy.configs(legacy.PUBLISHED))
    return {
        "diffusionsat unet": lambda: SatUNet(**SD2),
        "controlnet, superres": lambda: SatControlNet(
            **SD2, conditioning_in_channels=10, conditioning_scale=2
        ),
        "controlnet, xbd": lambda: SatControlNet(**SD2),
        "controlnet, temporal": lambda: SatControlNet3D(**SD2, use_temporal_transformer=True),
        "text2earth unet": lambda: UNet2DConditionModel(**SD2, class_embed_type="timestep"),
        "text2earth unet, inpainting": lambda: UNet2DConditionModel(
            **SD2, class_embed_type="timestep", in_channels=9
        ),
        **{f"crsdiff {name}": build for name, build in own.items()},
    }


def shapes(build) -> dict[str, list[int]]:
    with torch.device("meta"):
        module = build()
    return {key: list(value.shape) for key, value in module.state_dict().items()}


def digest(of: dict[str, list[int]]) -> str:
    """Hash of all keys with their shapes, so that the official list need not be stored here."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]


# Millions of parameters as the authors' code has them, tensors where they are known, and the digest of keys
# and shapes. Those of DiffusionSat are compared with the official list below.
PUBLISHED = {
    "diffusionsat unet": (880.264644, 714, "b5a1788a6ac7a72e"),
    "controlnet, superres": (378.583168, 368, "ef07a7648d7b552c"),
    "controlnet, xbd": (None, 368, "70ef1f426f0be139"),
    "controlnet, temporal": (433.183100, 484, "76d732235429c4cb"),
    "text2earth unet": (867.961284, None, "974d6149c1ed3a46"),
    "text2earth unet, inpainting": (867.975684, None, "be72729395da13ca"),
    "crsdiff unet": (859.52, None, "cee917c89a0faa64"),
    "crsdiff local_adapter": (419.46, None, "92db3b252136af45"),
    "crsdiff content_adapter": (47.21, None, "38a26ce0e09fcca9"),
    "crsdiff metadata_embedding": (2.88, None, "3325f83dd7016675"),
    "crsdiff vae": (83.65, None, "1bc35fdd28e079e7"),
    "crsdiff text_encoder": (123.06, None, None),  # its prefix changes with transformers
}
OFFICIAL = {
    "SatUNet": "diffusionsat unet",
    "ControlNetModel (fMoW": "controlnet, superres",
    "ControlNetModel (xBD": "controlnet, xbd",
    "ControlNetModel3D": "controlnet, temporal",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_shapes_and_counts(name):
    millions, tensors, expected = PUBLISHED[name]
    ours = shapes(builders()[name])
    if millions is not None:
        count = sum(torch.Size(shape).numel() for shape in ours.values()) / 1e6
        assert round(count, 2 if millions == round(millions, 2) else 6) == millions
    assert tensors in (None, len(ours))
    assert expected in (None, digest(ours))


@pytest.mark.parametrize("kind", OFFICIAL)
def test_diffusionsat_has_the_official_keys(shared, kind):
    """From the official configuration, and the digest above is that of the official list."""
    from rs_course.checkpoints.diffusionsat import SatControlNet, SatControlNet3D, SatUNet

    with gzip.open(FIXTURES / "diffusionsat" / "fullsize_state_dict_spec.json.gz") as stream:
        spec = next(value for key, value in json.load(stream).items() if key.startswith(kind))
    classes = {"SatUNet": SatUNet, "ControlNetModel3D": SatControlNet3D}
    ours = shapes(lambda: classes.get(kind, SatControlNet)(**spec["config"]))
    assert ours == spec["shapes"]
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == spec["parameters"]
    assert digest(spec["shapes"]) == PUBLISHED[OFFICIAL[kind]][2]
