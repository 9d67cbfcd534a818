"""PyTorch's own weight files, read without running code from them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path

# Programs pickle their bookkeeping beside the weights. These classes are replaced by empty ones, never
# imported.
_BOOKKEEPING = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "argparse.Namespace", "pathlib.",
    "datetime.", "collections.defaultdict", "types.SimpleNamespace", "easydict.", "yacs.", "ml_collections.",
    "addict.", "mmengine.", "transformers.training_args", "torch.optim.lr_scheduler.",
)  # fmt: skip
# Numbers and arrays of NumPy (an epoch, an accuracy) hold values and no code; old files call them otherwise.
_NUMPY = re.compile(
    r"numpy\.(dtype|ndarray|dtypes\.\w+)|numpy\._?core\.multiarray\.(scalar|_reconstruct)|_codecs\.encode"
)

# What else has the ending of weights; the first bytes tell.
_OTHERS = {
    b"GGUF": "GGUF, which llama.cpp and its kin read",
    b"\x89HDF": "HDF5, as Keras writes it",
    b"\x1f\x8b": "a gzip archive, to be unpacked first",
    b"Rar!": "a RAR archive, to be unpacked first",
    b"7z\xbc\xaf": "a 7z archive, to be unpacked first",
}


class _Bookkeeping:
    """Stands in for an object of another program; holds nothing and does nothing."""

    def __init__(self, *values, **named):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass


def read_torch_file(file: Path) -> dict:
    """What ``torch.save`` stored, without running any of it.

    Raises:
        ValueError: Half a download, another kind of file, or a pickle that asks for code to be run.
    """
    import torch

    with file.open("rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{file} ends too early ({file.stat().st_size:,} bytes): fetch it again.")
        _refuse_other_zips(file)
    elif start[:1] != b"\x80":
        kind = next((f" but {kind}" for magic, kind in _OTHERS.items() if start.startswith(magic)), "")
        raise ValueError(f"{file} is not a PyTorch file{kind}.")
    wanted = _globals_of(file)
    try:
        with (
            torch.serialization.safe_globals(_harmless(wanted)),
            warnings.catch_warnings(),
            file.open("rb") as stream,  # by its name, torch.load would take it for safetensors
        ):
            warnings.simplefilter("ignore")  # old names of NumPy
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        asked = [name for name in wanted if not name.startswith(_BOOKKEEPING) and not _NUMPY.fullmatch(name)]
        names = f" ({asked[0]})" if asked else ""
        raise ValueError(
            f"{file} asks for code to be run when it is opened, so it was refused{names}: ask its author for "
            "safetensors, or load it only if you would run a program from the same source."
        ) from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise ValueError(f"{file} cannot be read ({reason}): fetch it again.") from None
    if not isinstance(state, dict):
        raise ValueError(f"{file} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def _refuse_other_zips(file: Path) -> None:
    """PyTorch's files are ZIP archives; so are its programs, and so is a packed folder."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ValueError(
            f"{file} is a TorchScript archive: a program with its weights, which is not run here. If you "
            "trust its source, torch.jit.load(file).state_dict() has the weights for safetensors."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ValueError(
            f"{file} is a ZIP archive without PyTorch's data.pkl: unpack it and give what lies inside."
        )


def _globals_of(file: Path) -> list[str]:
    """Names that the file asks for beyond tensors."""
    import torch

    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # an old-style or damaged file, which cannot be listed; torch.load decides
        return []


def _harmless(wanted: list[str]) -> list:
    """What is allowed of them: stand-ins for bookkeeping, and NumPy's numbers."""
    import codecs
    from importlib import import_module

    import numpy as np

    multiarray = import_module("numpy._core.multiarray")

    allowed: list = [(_Bookkeeping, name) for name in wanted if name.startswith(_BOOKKEEPING)]
    # Named even for old-style files, which cannot be asked what they want.
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}
    allowed += [np.dtype, np.ndarray, codecs.encode, (codecs.encode, "_codecs.encode"), *kinds]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [
            (multiarray.scalar, f"{module}.scalar"),
            (multiarray._reconstruct, f"{module}._reconstruct"),
        ]
    return allowed
