"""Time of super-resolution networks: one thread, interleaved at random; writes ``superres_speed.json``.

    OMP_NUM_THREADS=1 python benchmarks/superres.py [--rounds 25]

Compared at low-resolution sides 64 and 128 (×4):

    dscf              as ``superres.upscale`` runs it: channels last, activations in place
    dscf plain        the same network as the official code writes it: NCHW, a new tensor for every operation
    efdn, span48      the baseline and the larger SPAN, in their best layout
    bicubic           our ``imresize``
    convolutions      only DSCF's 22 convolutions, on tensors of the right shape and layout: the floor

Times do not depend on the weights, so random ones serve. On a CUDA device the published setting is timed too:
256² → 1024² in float32, bfloat16 and float16, interleaved; the authors' own GPU took 8.37 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from rs_course import superres
from rs_course.paths import data_dir
from rs_course.superres.baselines import bicubic
from rs_course.superres.networks import SPAB

RESULTS = data_dir() / "results" / "superres_speed.json"
PUBLISHED_MS = 8.37  # Chai et al., results.txt of DSCF-SR: 256² → 1024², on a GPU they do not name there


class PlainSPAB(SPAB):
    """The block with every operation into a new tensor."""

    def forward(self, x):
        o1 = F.silu(self.c1_r(x))
        o2 = F.silu(self.c2_r(o1))
        o3 = self.c3_r(o2)
        return (o3 + x) * (torch.sigmoid(o3) - 0.5), o1, o2, o3


def plain(network: superres.SPAN) -> superres.SPAN:
    """Change the blocks of a SPAN to :class:`PlainSPAB`."""
    for block in network.blocks():
        block.__class__ = PlainSPAB
    return network


def convolutions(network: superres.SPAN, side: int):
    """A function that runs the network's convolutions alone, on prepared channels-last inputs."""
    jobs = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer = layer.to(memory_format=torch.channels_last)
            x = torch.rand(1, layer.in_channels, side, side).contiguous(memory_format=torch.channels_last)
            jobs.append((layer, x))
    return lambda: [layer(x) for layer, x in jobs]


def interleaved(functions: dict, rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Milliseconds of every function, ``rounds`` times, in a new random order each round."""
    order, times = random.Random(seed), {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name in order.sample(list(functions), len(functions)):
            begin = time.perf_counter()
            functions[name]()
            times[name].append(1000 * (time.perf_counter() - begin))
    return times


def on_cpu(networks: dict, sides, rounds: int) -> dict:
    """Medians, minima and the median of the per-round ratio to ``dscf plain`` and to the convolutions."""
    results = {}
    for side in sides:
        # Smooth input: on white noise the network's values explode, and denormal or huge numbers change
        # the time.
        x = F.interpolate(torch.rand(1, 3, 8, 8), (side, side), mode="bicubic").clamp(0, 1)
        functions = {
            name: lambda x=x, network=network: superres.upscale(x, network)
            for name, network in networks.items()
        }
        reference = plain(superres.SPAN(26)).eval()
        functions["dscf plain"] = lambda x=x, network=reference: network(x)
        functions["convolutions"] = convolutions(superres.SPAN(26).eval(), side)
        with torch.inference_mode():
            times = interleaved(functions, rounds)
        row = {}
        for name, values in times.items():
            ratio = [v / p for v, p in zip(values, times["dscf plain"], strict=True)]
            floor_ratio = [v / p for v, p in zip(values, times["convolutions"], strict=True)]
            row[name] = {
                "median_ms": round(statistics.median(values), 2),
                "min_ms": round(min(values), 2),
                "to_plain": round(statistics.median(ratio), 3),
                "to_convolutions": round(statistics.median(floor_ratio), 3),
            }
        results[str(side)] = row
    return results


def on_gpu(rounds: int) -> dict:
    """Milliseconds for 256² → 1024² by number type: the network alone, on the device, in channels last."""
    runs = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        layout = {"device": "cuda", "dtype": dtype, "memory_format": torch.channels_last}
        network = superres.SPAN(26).eval().to(**layout)
        x = F.interpolate(torch.rand(1, 3, 16, 16), (256, 256), mode="bicubic").clamp(0, 1).to(**layout)

        def run(network=network, x=x):
            network(x)
            torch.cuda.synchronize()

        runs[str(dtype).removeprefix("torch.")] = run
    with torch.inference_mode():
        interleaved(runs, 10)  # the first calls choose kernels
        times = interleaved(runs, rounds)
    return {
        name: {"median_ms": round(statistics.median(values), 3), "min_ms": round(min(values), 3)}
        for name, values in times.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = {
        "dscf": superres.SPAN(26),
        "span48": superres.SPAN(48),
        "efdn": superres.EFDN(),
        "bicubic": bicubic,
    }
    for network in networks.values():
        if isinstance(network, torch.nn.Module):
            network.eval()
    record = {
        "what": "milliseconds per image, 1 thread, float32, interleaved in random order",
        "machine": {"cpu": cpu_name(), "torch": torch.__version__},
        "rounds": args.rounds,
        "cpu": on_cpu(networks, args.sides, args.rounds),
    }
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        record["gpu"] = {"device": name, "published_ms": PUBLISHED_MS, "×4 of 256²": on_gpu(100)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for side, row in record["cpu"].items():
        print(f"\n×4 of {side}²   median ms   minimum   to plain   to convolutions")
        for name, values in sorted(row.items(), key=lambda item: item[1]["median_ms"]):
            print(f"{name:14}", *(f"{value:10.3f}" for value in values.values()))
    if "gpu" in record:
        print(f"\n×4 of 256² on {record['gpu']['device']} (published: {PUBLISHED_MS} ms on the authors' GPU)")
        for name, values in record["gpu"]["×4 of 256²"].items():
            print(f"{name:14}", *(f"{value:10.3f}" for value in values.values()))


def cpu_name() -> str:
    """Model name of the processor where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
