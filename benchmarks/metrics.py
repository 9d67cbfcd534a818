"""Time of our metrics beside what a user would pick instead; writes ``results/metrics.json``.

    python benchmarks/metrics.py [--rounds 9] [--only fid kid]

One core, one thread. Rounds are interleaved and a ratio is taken within each round, so that other load on the
machine falls on both alike; the median over rounds is reported, with the range. Both sides get the same input
and their results are compared. ``--only`` replaces the rows it measures; each row says when and on which
processor it was.

    fid statistics   mean and covariance of 10,000 × 512 features, streamed in batches of 50, as pytorch-fid
                     does where nothing else is said, and of 500
    fid              the same for two sets, and the distance
    kid              20 subsets of 1,000 out of 5,000 × 512 features
    prdc             precision, recall, density, coverage of 3,000 × 512 features, beside ``prdc``
    inception        Inception Score of 50,000 × 10 probabilities
    psnr, ssim       16 colour images of 256 × 256. torchmetrics' PSNR waits for memory: 11 ms in a new
                     process, 4 where large blocks were freed before (as when run beside kid); ours takes 7 to
                     9 in both, a quarter of it to check its input
    clip score       64 tiles of 64 × 64 with a small CLIP (random weights: time does not depend on them)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from rs_course import alignment, metrics

RESULTS = Path(__file__).parent / "results" / "metrics.json"


class Identity(torch.nn.Module):
    """Feature extractor of torchmetrics that hands features through."""

    num_features = 512

    def forward(self, features):
        return features


def features(count: int, seed: int) -> torch.Tensor:
    """Correlated non-negative features ``[count, 512]``, as pooled activations are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(512, 512, generator=generator) / 512**0.5
    return (torch.randn(count, 512, generator=generator) @ mix + 0.2 * seed).relu()


def fid_cases():
    from torchmetrics.image.fid import FrechetInceptionDistance

    sets = [features(10_000, seed) for seed in (0, 1)]

    def ours(count, batch_size):
        statistics_ = [metrics.FeatureStatistics() for _ in range(count)]
        for accumulator, rows in zip(statistics_, sets, strict=False):
            for batch in rows.split(batch_size):
                accumulator.update(batch)
        return statistics_[0].covariance.trace().item() if count == 1 else metrics.fid(*statistics_)

    def theirs(count, batch_size):
        metric = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
        for real, rows in zip((True, False)[:count], sets, strict=False):
            for batch in rows.split(batch_size):
                metric.update(batch, real=real)
        if count == 2:
            return metric.compute().item()
        mean = metric.real_features_sum / len(sets[0])
        return (
            (metric.real_features_cov_sum.trace() - len(sets[0]) * mean @ mean) / (len(sets[0]) - 1)
        ).item()

    for batch_size in (50, 500):
        for count, name in ((1, "fid statistics"), (2, "fid")):
            sides = [partial(side, count, batch_size) for side in (ours, theirs)]
            yield f"{name}, batches of {batch_size}", "torchmetrics", *sides


def kid_cases():
    from torchmetrics.image.kid import KernelInceptionDistance

    real, generated = features(5_000, 0), features(5_000, 1)

    def theirs():
        metric = KernelInceptionDistance(feature=Identity(), subsets=20, subset_size=1000)
        metric.update(real, real=True)
        metric.update(generated, real=False)
        torch.manual_seed(0)
        return metric.compute()[0].item()

    yield "kid", "torchmetrics", lambda: metrics.kid(real, generated, subset_size=1000, subsets=20), theirs


def prdc_cases():
    import prdc

    real, generated = features(3_000, 0), features(3_000, 1)
    arrays = real.numpy(), generated.numpy()
    yield (
        "prdc",
        "prdc",
        lambda: metrics.precision_recall(real, generated).density,
        lambda: prdc.compute_prdc(*arrays, nearest_k=5)["density"],
    )


def inception_cases():
    from torchmetrics.image.inception import InceptionScore

    logits = torch.randn(50_000, 10, generator=torch.Generator().manual_seed(0))

    def theirs():
        metric = InceptionScore(feature=Identity(), splits=1)
        metric.update(logits)
        return metric.compute()[0].item()

    yield "inception", "torchmetrics", lambda: float(metrics.inception_score(logits.softmax(1))), theirs


def image_cases():
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    generator = torch.Generator().manual_seed(0)
    target = torch.rand(16, 3, 256, 256, generator=generator)
    pred = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)

    def psnr():
        return peak_signal_noise_ratio(pred, target, data_range=1.0, dim=(1, 2, 3)).item()

    def ssim():
        return structural_similarity_index_measure(pred, target, data_range=1.0).item()

    def ssim_skimage():
        settings = {"data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False}
        pairs = zip(pred.permute(0, 2, 3, 1).numpy(), target.permute(0, 2, 3, 1).numpy(), strict=True)
        return sum(structural_similarity(a, b, channel_axis=2, sigma=1.5, **settings) for a, b in pairs) / 16

    yield "psnr", "torchmetrics", lambda: metrics.psnr(pred, target).mean().item(), psnr
    yield "ssim", "torchmetrics", lambda: metrics.ssim(pred, target).mean().item(), ssim
    yield "ssim", "scikit-image", lambda: metrics.ssim(pred, target).mean().item(), ssim_skimage


def clip_cases():
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: i for i, word in enumerate(words)}, [])
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    tower = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config=tower | ends | {"vocab_size": len(words), "max_position_embeddings": 77},
            vision_config=tower | {"image_size": 224, "patch_size": 32},
        )
    ).eval()
    folder = Path(tempfile.mkdtemp())
    processor = CLIPProcessor(CLIPImageProcessorPil(), tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    scorer = alignment.load(folder, device="cpu", cache=False)
    pixels = torch.randint(0, 256, (64, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(
        torch.uint8
    )
    texts = [f"tile {i} with a river and {i % 5} villages" for i in range(64)]
    images = pixels / 255

    class Tensors(torch.nn.Module):
        """torchmetrics reads features as tensors, transformers 5 returns objects."""

        def __init__(self):
            super().__init__()
            self.model, self.config = model, model.config

        def get_image_features(self, pixel_values):
            return self.model.get_image_features(pixel_values).pooler_output

        def get_text_features(self, ids, mask):
            return self.model.get_text_features(ids, mask).pooler_output

    metric = CLIPScore(model_name_or_path=lambda: (Tensors(), processor))

    def theirs():
        metric.reset()
        with torch.inference_mode():
            metric.update(pixels, texts)
        return metric.compute().item()

    yield "clip score", "torchmetrics", lambda: scorer.clip_score_percent(images, texts).mean().item(), theirs


CASES = {
    "fid": fid_cases,
    "kid": kid_cases,
    "prdc": prdc_cases,
    "inception": inception_cases,
    "image": image_cases,
    "clip": clip_cases,
}


def measure(name, package, ours, theirs, rounds: int) -> dict:
    """Times in seconds, ratio theirs/ours per round, and how far the results are apart."""
    values = ours(), theirs()  # also warms both up
    times = []
    for i in range(rounds):
        pair = {}
        for side, call in (
            (("ours", ours), ("theirs", theirs)) if i % 2 else (("theirs", theirs), ("ours", ours))
        ):
            start = time.perf_counter()
            call()
            pair[side] = time.perf_counter() - start
        times.append(pair)
    ratios = sorted(pair["theirs"] / pair["ours"] for pair in times)
    result = {
        "metric": name,
        "package": f"{package} {version(package)}",
        "ours_s": round(statistics.median(pair["ours"] for pair in times), 4),
        "theirs_s": round(statistics.median(pair["theirs"] for pair in times), 4),
        "times_faster": round(statistics.median(ratios), 2),
        "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "relative_difference": float(f"{abs(values[0] - values[1]) / abs(values[1]):.1e}"),
        "rounds": rounds,
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
    }
    print(
        f"{name:30} {result['ours_s']:8.4f} s   {package:13} {result['theirs_s']:8.4f} s   "
        f"×{result['times_faster']:<6} {result['range']}   apart by {result['relative_difference']:.0e}",
        flush=True,
    )
    return result


def processor() -> str:
    """Model name of the processor where Linux tells it: ratios depend on it, since BLAS libraries do."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((row.split(":")[1].strip() for row in lines if row.startswith("model name")), "unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # packages that start their own threads get one core like us
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")
    rows = [measure(*case, args.rounds) for group in args.only for case in CASES[group]()]
    measured = {(row["metric"], row["package"].split()[0]) for row in rows}
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if RESULTS.exists() else []
    kept = [row for row in stored if (row["metric"], row["package"].split()[0]) not in measured]
    report = {
        "machine": f"{platform.machine()}, {platform.system()}, 1 core, 1 thread",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "results": [*rows, *kept],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
