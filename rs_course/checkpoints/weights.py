"""Reading weight files without running code, and filling a module with them, every key accounted for."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Training frameworks pickle their bookkeeping beside the weights. These classes are replaced by empty ones,
# never imported.
_BOOKKEEPING = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "argparse.Namespace")

_NESTED = ("state_dict", "params_ema", "params")


class _Bookkeeping:
    """Stands in for an object of a training framework; holds nothing and does nothing."""

    def __setstate__(self, state):
        pass


def read_state_dict(file: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.safetensors``, ``.bin``, ``.pt``, ``.pth`` or ``.ckpt`` file; never executes code from
    it.

    What Lightning or BasicSR nest under a key of their own is unpacked.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Half a download, another kind of file, or a pickle that asks for code to be run.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no weight file {file}.")
    state = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    nested = next((state[key] for key in _NESTED if isinstance(state.get(key), dict)), state)
    return {key: value for key, value in nested.items() if hasattr(value, "shape")}


def _read_safetensors(file: Path) -> dict:
    from safetensors.torch import load_file

    size = file.stat().st_size
    _refuse_text(file)
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


def _read_torch(file: Path) -> dict:
    import torch

    _refuse_text(file)
    with file.open("rb") as stream:
        start = stream.read(4)
    if start[:4] == b"PK\x03\x04" and not zipfile.is_zipfile(file):
        raise ValueError(f"{file} ends too early ({file.stat().st_size:,} bytes): fetch it again.")
    if start[:4] != b"PK\x03\x04" and start[:1] != b"\x80":
        raise ValueError(f"{file} is not a PyTorch file.")
    try:
        with torch.serialization.safe_globals(_harmless_globals(file)):
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{file} asks for code to be run when it is opened, so it was refused: "
            "ask its author for safetensors, or load it only if you would run a program from the same source."
        ) from None
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{file} cannot be read ({str(error).splitlines()[0]}): fetch it again.") from None
    if not isinstance(state, dict):
        raise ValueError(f"{file} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def _harmless_globals(file: Path) -> list[tuple[type, str]]:
    import torch

    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError):
        return []  # an old-style file, which cannot be listed; torch.load decides
    return [(_Bookkeeping, name) for name in wanted if name.startswith(_BOOKKEEPING)]


def _refuse_text(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{file} is a Git LFS pointer, not the weights: run `git lfs pull`, or fetch it again."
        )
    if start.lstrip()[:1] == b"<":
        raise ValueError(
            f"{file} is a web page, not weights: the download was answered with a login or error page."
        )


def find_weights(folder: Path, stem: str = "diffusion_pytorch_model") -> Path:
    """The weight file of a model folder: safetensors where there is a choice.

    Raises:
        FileNotFoundError: None there.
    """
    names = [f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{stem}.bin", "pytorch_model.bin"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = sorted(file for suffix in (".safetensors", ".bin") for file in folder.glob(f"*{suffix}"))
    if len(others) == 1:
        return others[0]
    raise FileNotFoundError(
        f"{folder} has no weights ({' or '.join(names[:1] + names[2:3])}): fetch it again."
    )


def filled(build: Callable[[], torch.nn.Module], state: dict[str, torch.Tensor], source, dtype=None):
    """Build a module and give it exactly the tensors of ``state``.

    Args:
        build: Makes the module; its random initial values are never computed.
        state: Tensors by the module's own keys, in any storage type (float8 and float16 included).
        source: Where they come from, for messages.
        dtype: Floating type of the module; ``None`` is float32.

    Returns:
        The module in evaluation mode, on the CPU.

    Raises:
        ValueError: Missing, superfluous or differently shaped tensors, by name.
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
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(False).eval()


def _some(names: list[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


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
