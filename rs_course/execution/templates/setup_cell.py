import importlib.util

if importlib.util.find_spec("rs_course") is None:  # on Colab or Kaggle; in a normal set-up nothing happens
    import os
    import subprocess
    import sys
    import tempfile
    from importlib.metadata import distributions

    source = os.environ.get("RS_COURSE_SOURCE", "")
    if not source:
        raise SystemExit(
            "Set RS_COURSE_SOURCE to the course's address (git+https://…) or wheel, and run again."
        )
    host = ("torch", "numpy", "nvidia", "cuda", "triton")  # what the machine brought stays as it is
    kept = sorted({f"{d.name}=={d.version}" for d in distributions() if d.name.lower().startswith(host)})
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt", delete=False) as file:
        file.write("\n".join(kept))
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", file.name, source], check=True)
    importlib.invalidate_caches()
    print(f"The course was installed from {source}; torch, NumPy and CUDA were kept as they were.")
