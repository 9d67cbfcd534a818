"""What a result depends on, as hashes: a task's id changes exactly when its result might.

Every row of a ledger carries four of them: ``code`` (sources of the modules named), ``data`` (content of the
data sets), ``checkpoint`` (weights and configuration) and its own ``id``, which covers the settings and the
other three.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from rs_course.files import sha256, stamp

_DIGITS = 16
_WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")


def of_inputs(inputs: dict) -> dict:
    """Hashes of a plan's inputs.

    Args:
        inputs: ``code``: module or package names; ``data``: ``"simulated"``, names of fetched data sets, or
            paths; ``checkpoint``: names or paths. Each may be a list, one value, or missing.

    Returns:
        ``{"code": …, "data": …, "checkpoint": …}``; a missing one is the hash of nothing.

    Raises:
        ValueError: Another key, or a module that does not exist.
        FileNotFoundError: Data or a checkpoint that is not here.
    """
    readers = {"code": _of_module, "data": content, "checkpoint": _of_checkpoint}
    if unknown := set(inputs) - set(readers):
        raise ValueError(f"[inputs] knows code, data and checkpoint, not {unknown.pop()!r}.")
    hashes = {}
    for kind, reader in readers.items():
        named = inputs.get(kind, [])
        named = [named] if isinstance(named, str) else named
        hashes[kind] = _short({str(name): reader(str(name)) for name in named})
    return hashes


def of_task(function: str, task: dict, inputs: dict) -> str:
    """Id of a task: the same settings, code, data and checkpoint give the same id on every machine."""
    return _short({"function": function, "task": task, **inputs})


def _short(content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _of_module(name: str) -> str:
    origin = _source(name)
    return _tree(origin, "*.py") if origin.is_dir() else sha256(origin)


def _source(name: str) -> Path:
    """File of a module, or folder of a package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"[inputs] code names {name!r}, which is no module here.")
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


class Watch:
    """Notices that an input of a study changes while it runs; sizes and times are read, not contents.

    A process computes with what it has imported, a worker that starts later with what it finds, and neither
    may write a row under the hash of the other.
    """

    def __init__(self, inputs: dict, checkpoints=()):
        named = {kind: [v] if isinstance(v, str) else list(v) for kind, v in inputs.items()}
        self.paths = [("code", _source(name)) for name in named.get("code", [])]
        self.paths += [("data", path) for name in named.get("data", []) for path in _data_files(name)]
        for name in {*named.get("checkpoint", []), *checkpoints}:
            self.paths.append(("checkpoint", Path(_locate(name))))
        self.stamps = [_stamps(kind, path) for kind, path in self.paths]

    def check(self) -> None:
        """See that nothing has changed since.

        Raises:
            RuntimeError: What has changed; rows that are finished keep the hashes that they were made under.
        """
        for (kind, path), before in zip(self.paths, self.stamps, strict=True):
            if _stamps(kind, path) != before:
                raise RuntimeError(
                    f"the {kind} of this study changed while it ran ({path.name}): what is finished was made "
                    "before the change and is kept under its old hash; give the same command again, and the "
                    "rest, and what depends on the change, is made anew."
                )


def _stamps(kind: str, path: Path) -> tuple:
    """Of a folder the files that its hash covers."""
    counted = {"code": (".py",), "checkpoint": (*_WEIGHTS, ".json"), "data": ("",)}[kind]
    return tuple(row for row in stamp(path) if row[0].endswith(counted))


def _data_files(name: str) -> list[Path]:
    from rs_course import registry

    if name == "simulated":
        return [_source("rs_course.simulated_earth")]
    path = Path(name).expanduser()
    return [path] if path.exists() else [Path(file) for file in registry.require(name)]


def _locate(name: str):
    from rs_course.checkpoints.loading import locate

    return locate(name)


def content(name: str) -> str:
    """Hash of data: a fetched set by its archive, a folder by its files, "simulated" by its source."""
    from rs_course import registry

    if name == "simulated":
        return _of_module("rs_course.simulated_earth")
    path = Path(name).expanduser()
    if not path.exists():
        entry = registry.find(name, kind="dataset")
        if entry is None:
            raise FileNotFoundError(
                f"[inputs] data names {name!r}, which is neither a path nor one of the data sets simulated, "
                f"{', '.join(registry.names('dataset'))}."
            )
        return _short([content(str(file)) for file in registry.require(entry.name)])
    return sha256(path) if path.is_file() else _tree(path, "*")


def listing(folder: str) -> str:
    """Hash of the names and sizes of a folder's files, for data that take too long to read.

    Raises:
        FileNotFoundError: No such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give the one that holds the data as source.")
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return _short({file.relative_to(root).as_posix(): file.stat().st_size for file in files})


def _of_checkpoint(name: str) -> str:
    """Weights and configurations of a folder, and of the folders whose parts it shares."""
    from rs_course.checkpoints.layout import shared_parts

    path = Path(_locate(name))
    if path.is_file():
        return sha256(path)
    folders = sorted(set(shared_parts(path).values()))
    kinds = (*(f"*{suffix}" for suffix in _WEIGHTS), "*config.json", "model_index.json")
    return _short([_tree(folder, *kinds) for folder in (path, *folders)])


def _tree(folder: Path, *patterns: str) -> str:
    """Hash of relative paths and contents."""
    files = {file for pattern in patterns for file in folder.rglob(pattern) if file.is_file()}
    plain = [
        f for f in files if not any(p.startswith((".", "__pycache__")) for p in f.relative_to(folder).parts)
    ]
    return _short({file.relative_to(folder).as_posix(): sha256(file) for file in plain})
