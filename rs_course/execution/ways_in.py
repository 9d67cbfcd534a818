"""Ways in without an installation: set-up cells, links to hosts, a page that draws in the browser.

The address of the repository stands in ``pyproject.toml`` (``[project.urls]``) and nowhere else by hand:
``rs-course address OWNER/NAME`` writes it into the notebooks, the README and ``CITATION.cff``.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import nbformat

from rs_course.execution.runner import TAG, store
from rs_course.files import sha256

_TEMPLATE = Path(__file__).with_name("templates") / "setup_cell.py"
_LINKS = re.compile(r"\n\nOpen this lesson in \[Colab\].*$", re.S)
HOSTS = {
    "Colab": "https://colab.research.google.com/github/{repository}/blob/main/{path}",
    "Kaggle": "https://kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/main/{path}",
    "Binder": "https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/{path}",
}


def setup_source(repository: str | None) -> str:
    """The set-up cell: it installs the course where it is missing, and does nothing where it is there."""
    source = _TEMPLATE.read_text(encoding="utf-8").strip()
    address = f"git+https://github.com/{repository}" if repository else ""
    return source.replace('"RS_COURSE_SOURCE", ""', f'"RS_COURSE_SOURCE", "{address}"')


def links(repository: str, path: str) -> str:
    """One line that opens a file of the repository on each host."""
    shown = [f"[{host}]({url.format(repository=repository, path=path)})" for host, url in HOSTS.items()]
    return f"Open this lesson in {', '.join(shown[:-1])} or {shown[-1]}."


def write_notebook(path: Path, repository: str | None) -> None:
    """Bring set-up cell and links of one notebook up to date; nothing is executed."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    title = cells[0]
    title.source = _LINKS.sub("", title.source)
    if repository:
        title.source += "\n\n" + links(repository, f"notebooks/{path.name}")
    cell = nbformat.v4.new_code_cell(setup_source(repository), id="setup-cell")
    cell.metadata.update({"slideshow": {"slide_type": "skip"}, "tags": [TAG]})
    notebook.cells = [title, cell, *cells[1:]]
    store(notebook, path)


def repository_of(root: Path) -> str | None:
    """OWNER/NAME as ``pyproject.toml`` tells it, or ``None`` while the course is not published."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Repository = "https://github\.com/([^"]+)"', text, re.M)
    return found[1] if found else None


def write(root: Path, repository: str | None) -> None:
    """Write the address into every file that tells it."""
    project = root / "pyproject.toml"
    text = re.sub(r'\[project\.urls\]\nRepository = "[^"]*"\n\n', "", project.read_text(encoding="utf-8"))
    citation = root / "CITATION.cff"
    cited = re.sub(r'repository-code: "[^"]*"\n', "", citation.read_text(encoding="utf-8"))
    readme = root / "README.md"
    told = re.sub(r"(<!-- hosts -->\n)\nOpen .*\n\n", r"\1", readme.read_text(encoding="utf-8"))
    if repository:
        url = f"https://github.com/{repository}"
        text = text.replace("[project.scripts]", f'[project.urls]\nRepository = "{url}"\n\n[project.scripts]')
        cited = cited.replace("license: MIT\n", f'repository-code: "{url}"\nlicense: MIT\n')
        lesson = min((root / "notebooks").glob("[0-9]*.ipynb"))
        first = links(repository, f"notebooks/{lesson.name}").replace("this lesson", "the first lesson")
        told = told.replace(
            "<!-- hosts -->\n", f"<!-- hosts -->\n\n{first}\n\n"
        )  # no links in a line of HTML
    for path, content in ((project, text), (citation, cited), (readme, told)):
        path.write_text(content, encoding="utf-8")
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        write_notebook(path, repository)


RUNTIME = "onnxruntime-web@1.30.0"
_RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_PROGRAM = "package/dist/ort.wasm.min.js"
_WRAPPED = ("package/dist/ort-wasm-simd-threaded.mjs", "package/dist/ort-wasm-simd-threaded.wasm")
GENERATORS = {"mini-diffusionsat": "simulated", "mini-text2earth": "eurosat"}
_STEPS = (4, 6, 8, 12)


class Unavailable(Exception):
    """The page cannot be made here; the message says why, in one sentence."""


def write_drawing(folder: Path, work: Path) -> None:
    """Write the files of the page that draws: :data:`GENERATORS` as ONNX, and what runs them.

    Each is a script that holds its file as text: a page opened from a folder may load scripts, and nothing
    else of that folder.

    Args:
        folder: ``_static/draw`` of the sources.
        work: Where downloads and exports are kept for the next time.

    Raises:
        Unavailable: npm is missing, or did not deliver.
    """
    archive = runtime(work)
    with tarfile.open(archive) as package:
        (folder / Path(_PROGRAM).name).write_bytes(package.extractfile(_PROGRAM).read())
        for name in _WRAPPED:
            _wrap(Path(name).name, package.extractfile(name).read(), folder)
    moving = work / "from_noise.gif"
    for name in GENERATORS:
        exported = exported_generator(name, work)
        for path in sorted(exported.glob("*.*")):
            _wrap(f"{name}/{path.name}", path.read_bytes(), folder)
    if not moving.is_file():
        moving.write_bytes(from_noise())
    shutil.copyfile(moving, folder / moving.name)
    (folder / "generators.js").write_text(
        f"window.drawGenerators = {json.dumps(list(GENERATORS))};\n", "utf-8"
    )


def runtime(work: Path) -> Path:
    """The archive of onnxruntime-web, from the npm registry once, checked by its hash."""
    archive = work / f"{RUNTIME.replace('@', '-')}.tgz"
    if not archive.is_file() or sha256(archive) != _RUNTIME_SHA256:
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("npm is not installed")
        work.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", RUNTIME, "--silent"], cwd=work, capture_output=True, text=True, check=False
        )
        if done.returncode or not archive.is_file():
            last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            raise Unavailable(f"npm could not fetch {RUNTIME} ({last})")
        if sha256(archive) != _RUNTIME_SHA256:
            archive.unlink()
            raise Unavailable(f"npm's {RUNTIME} is not the file that this course knows")
    return archive


def exported_generator(name: str, work: Path) -> Path:
    """The folder of an exported checkpoint; made again when its weights or the exporter changed."""
    from rs_course import checkpoints, datasets, simulated_earth
    from rs_course.checkpoints import export

    checkpoint = checkpoints.load(name)
    state = json.dumps([checkpoint.card.hash, _STEPS, sha256(Path(export.__file__))], sort_keys=True)
    folder, stamp = work / name, work / f"{name}.stamp"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != state:
        stamp.unlink(missing_ok=True)
        prompts = {
            label: datasets.class_prompt(label, GENERATORS.get(name, "simulated"))
            for label in simulated_earth.CLASSES
        }
        export.export(checkpoint, folder, name=name, prompts=prompts, steps=_STEPS)
        stamp.write_text(state, encoding="utf-8")
    return folder


def from_noise() -> bytes:
    """Four generated places step by step, from noise to tile, side by side as a moving picture."""
    import numpy as np
    from PIL import Image

    from rs_course import checkpoints, datasets
    from rs_course.sampling.engine import decode, trajectory

    generator, frames = checkpoints.load("mini-text2earth"), []
    classes = ("AnnualCrop", "Highway", "Residential", "River")
    prompts = [datasets.class_prompt(label, GENERATORS["mini-text2earth"]) for label in classes]
    for state in trajectory(generator, prompts, steps=16, sampler="dpmsolver++", seed=3):
        tiles = decode(generator, state.latents).permute(0, 2, 3, 1).mul(255).round().byte().numpy()
        strip = Image.fromarray(np.concatenate([*tiles], axis=1))
        frames.append(strip.resize((strip.width * 2, strip.height * 2), Image.Resampling.BICUBIC))
    buffer, pauses = io.BytesIO(), [160] * (len(frames) - 1) + [3000]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0)
    return buffer.getvalue()


def _wrap(name: str, content: bytes, folder: Path) -> None:
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = base64.b64encode(content).decode()
    path.write_text(f'window.drawFiles[{json.dumps(name)}] = "{text}";\n', encoding="utf-8")
