import subprocess
import sys

import numpy as np
import pytest
import torch

from rs_course import seeds

SHAPE = (3, 8, 8)


def test_image_does_not_depend_on_its_batch():
    whole = seeds.noise((10, *SHAPE), seed=4)
    for size in (1, 3, 7):
        parts = [seeds.noise((min(size, 10 - s), *SHAPE), seed=4, start=s) for s in range(0, 10, size)]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(seeds.noise((2, *SHAPE), seed=4, indices=[7, 2]), whole[[7, 2]])


def test_same_values_in_another_process():
    draw = "seeds.noise((2, 3), seed=5, start=3, stream=1).numpy().tobytes().hex()"
    code = f"from rs_course import seeds; print({draw})"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert out == seeds.noise((2, 3), seed=5, start=3, stream=1).numpy().tobytes().hex()


def test_seed_image_and_stream_are_independent_and_normal():
    rows = torch.cat(
        [seeds.noise((8, 4096), seed=s, stream=k) for s in (0, 1, 2**40) for k in (0, 1, 50)]
    ).double()
    correlation = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlation.abs().max() < 5 / 4096**0.5
    assert abs(rows.mean()) < 0.01
    assert abs(rows.var() - 1) < 0.01
    assert abs((rows**4).mean() - 3) < 0.1


def test_more_than_32_bits_of_seed_count():
    assert not torch.equal(seeds.noise((1, 16), seed=7), seeds.noise((1, 16), seed=7 + 2**32))


def test_dtype_rounds_the_same_noise_and_like_follows_the_tensor():
    single = seeds.noise((4, *SHAPE), seed=0)
    x = torch.zeros(4, *SHAPE, dtype=torch.float64)
    double = seeds.noise_like(x, seed=0)
    assert double.dtype == torch.float64
    assert torch.equal(double, single.double())
    assert torch.equal(seeds.noise((4, *SHAPE), seed=0, dtype=torch.bfloat16), single.bfloat16())
    assert np.array_equal(seeds.generator(0, 2).standard_normal(SHAPE, dtype=np.float32), single[2].numpy())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"seed": 0, "start": -2}, ValueError, "index is -2"),
        ({"seed": 0, "indices": [1]}, ValueError, "one index per row"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        seeds.noise((2, 3), **arguments)
