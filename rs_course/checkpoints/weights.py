"""Reading weight files without running code, and filling a module with them, every key accounted for."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_course.files import refuse_text

if TYPE_CHECKING:
    import torch


# Where programs put the weights of a model beside other things, the one to take first.
_NESTED = (
    "state_dict", "params_ema", "params", "model_state_dict", "model", "state_dict_ema", "ema_state_dict",
    "model_ema", "ema", "net", "network",
)  # fmt: skip
# What wrappers of a whole model put before every key.
_WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.")
_INDEX = ".index.json"


def read_state_dict(file: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a weight file, or of all files that an index (``….index.json``) names.

    The content decides between safetensors and PyTorch's format, not the ending. No code from the file is
    ever run. What training programs nest under a key of their own is unpacked, and what wrappers put before
    all keys is taken off.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Half a download, another kind of file, or a pickle that asks for code to be run.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no weight file {file}.")
    if file.name.endswith(_INDEX) or ".index." in file.name:
        return unwrapped({key: value for part in weight_parts(file) for key, value in _read(part).items()})
    return unwrapped(_read(file))


def unwrapped(state: dict) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, out of what training programs and wrappers put around them."""
    import numpy as np
    import torch

    while nested := next((state[key] for key in _NESTED if _holds_tensors(state.get(key))), None):
        state = nested
    state = {
        key: torch.from_numpy(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
        else value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, np.ndarray | torch.Tensor)
    }
    while prefix := next((p for p in _WRAPPERS if state and all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    # Lightning keeps a network as self.model; latent-diffusion's own keys begin so, too.
    if state and all(key.startswith("model.") and not key.startswith("model.diffusion") for key in state):
        state = {key.removeprefix("model."): value for key, value in state.items()}
    return state


def _holds_tensors(value) -> bool:
    if not isinstance(value, dict):
        return False
    return any(hasattr(part, "shape") for part in value.values()) or any(
        _holds_tensors(value.get(key)) for key in _NESTED
    )


def weight_parts(file: Path) -> list[Path]:
    """The files that hold the weights: the one itself, or all that its index names.

    Raises:
        ValueError: The index names a path outside its folder, or is none.
        FileNotFoundError: A file that it names is missing.
    """
    if ".index." not in file.name:
        return [file]
    names = read_json(file).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{file} has no weight_map, which says what lies where: fetch it again.")
    parts = sorted(set(names.values()))
    if odd := next((name for name in parts if name != Path(name).name or "\\" in name or name == ".."), None):
        raise ValueError(f"{file} names {odd!r}, which is no file beside it: refused.")
    if missing := [name for name in parts if not (file.parent / name).is_file()]:
        raise FileNotFoundError(
            f"{file.parent} has {len(parts) - len(missing)} of the {len(parts)} files of its weights and "
            f"lacks {missing[0]}: fetch that one, too."
        )
    return [file.parent / name for name in parts]


def _read(file: Path) -> dict:
    refuse_text(file, "the weights")
    with file.open("rb") as stream:
        start = stream.read(9)
    # safetensors begins with a length, which may look like any other beginning, and a brace.
    torch_file = start[:2] == b"PK" or start[:1] == b"\x80" or file.suffix != ".safetensors"
    if torch_file and start[8:9] != b"{":
        return read_torch_file(file)
    return _read_safetensors(file)


def _read_safetensors(file: Path) -> dict:
    from safetensors.torch import load_file

    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little") if len(start) == 8 else size
        header = stream.read(length) if length < size else b""
    try:
        spans = [entry["data_offsets"] for key, entry in json.loads(header).items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{file} is not a complete safetensors file ({size:,} bytes): download it again."
        ) from None
    promised = 8 + length + max((end for _, end in spans), default=0)
    if size != promised:
        raise ValueError(
            f"{file} has {size:,} bytes where its header promises {promised:,}: "
            "the download is incomplete or damaged, fetch it again."
        )
    return load_file(file)


def find_weights(folder: Path, stem: str = "diffusion_pytorch_model") -> Path:
    """The weight file of a model folder, or the index of several: safetensors where there is a choice.

    Raises:
        FileNotFoundError: None there.
    """
    names = [f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{stem}.bin", "pytorch_model.bin"]
    kinds = [f"{stem}.safetensors", f"{stem}.bin", "model.safetensors", "pytorch_model.bin"]
    names += [f"{kind}{_INDEX}" for kind in kinds] + [f"{kind}.index.fp16.json" for kind in kinds]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = sorted(file for suffix in (".safetensors", ".bin") for file in folder.glob(f"*{suffix}"))
    if len(others) == 1:
        return others[0]
    if any(re.search(r"-\d+-of-\d+\.", file.name) for file in others):
        raise FileNotFoundError(
            f"{folder} has the weights in {len(others)} parts without the index {names[0]}{_INDEX}, which "
            "says what lies where: fetch that, too."
        )
    raise FileNotFoundError(
        f"{folder} has no weights ({' or '.join(names[:1] + names[2:3])}): fetch it again."
    )


def filled(
    build: Callable[[], torch.nn.Module],
    state: dict[str, torch.Tensor],
    source: object,
    dtype: torch.dtype | None = None,
) -> Any:
    """Build a module and give it exactly the tensors of ``state``.

    Args:
        build: Makes the module; its random initial values are never computed.
        state: Tensors by the module's own keys, in any storage type (float8 and float16 included).
        source: Where they come from, for messages.
        dtype: Floating type of the module; ``None`` is float32.

    Returns:
        The module in evaluation mode, on the CPU.

    Raises:
        ValueError: Missing, superfluous or differently shaped tensors, by name; or numbers too large for
            ``dtype``.
    """
    import torch
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        module = build()
    expected = module.state_dict()
    problems = []
    if missing := sorted(expected.keys() - state.keys()):
        problems.append(f"lacks {_some(missing)}")
    if extra := sorted(state.keys() - expected.keys()):
        problems.append(f"has {_some(extra)}, which the configuration does not know")
    if wrong := [key for key in expected if key in state and expected[key].shape != state[key].shape]:
        shapes = [f"{key} {list(state[key].shape)} instead of {list(expected[key].shape)}" for key in wrong]
        problems.append(f"has {_some(shapes)}")
    if problems:
        raise ValueError(
            f"{source} does not fit {type(module).__name__}: it {'; it '.join(problems)}. "
            "Are the weights and the config.json beside them from the same checkpoint?"
        )
    dtype = dtype or torch.float32
    stored, state = state, {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    if dtype == torch.float16 and (
        lost := next((k for k, v in state.items() if _overflows(stored[k], v)), None)
    ):
        raise ValueError(
            f"{source}: {lost} has numbers beyond the range of float16: load with dtype='bfloat16' or "
            "'float32'."
        )
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(False).eval()


def _overflows(before: torch.Tensor, after: torch.Tensor) -> bool:
    return bool(after.is_floating_point() and before.isfinite().all() and not after.isfinite().all())


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def read_json(file: Path) -> dict:
    """A JSON object.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} is missing: the checkpoint is incomplete, fetch it again.") from None
    except ValueError:
        raise ValueError(f"{file} is not valid JSON: the checkpoint is damaged, fetch it again.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__} where a JSON object belongs.")
    return content


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
