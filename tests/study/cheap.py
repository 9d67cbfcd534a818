"""Tasks that cost nothing, to test the machinery of studies by itself; its workers import this module."""

import os
import time
from pathlib import Path

import numpy as np


def square(task):
    """Results, and a line in a log that says who computed it."""
    if log := task.get("log"):
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(f"{task['x']} {os.getpid()}\n")
    time.sleep(task.get("wait", 0))
    if task.get("fail_unless") and not Path(task["fail_unless"]).exists():
        raise ValueError("the file is missing.")
    return {
        "accuracy": task["x"] ** 2 / 100,
        "predictions": [task["x"], task["seed"]],
        "correct": bytes([task["x"]]),
        "probability": np.float32(0.5),
    }


def no_dict(task):
    return task["x"]


def count(task):
    """How many tiles the folder holds that the task names."""
    return {"accuracy": 0.0, "images": len(list(Path(task["dataset"]).rglob("*.png")))}
