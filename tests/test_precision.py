"""The number type is chosen by what the device is faster with, and computes what the other would."""

import time

import pytest
import torch

from rs_course import precision


@pytest.fixture
def measured_anew():
    precision.autocast.cache_clear()
    yield
    precision.autocast.cache_clear()


def _slow_for(dtype, matmul):
    def multiply(a, b):
        if a.dtype == dtype:
            time.sleep(0.02)
        return matmul(a, b)

    return multiply


@pytest.mark.parametrize(
    "slow, chosen", [(torch.bfloat16, None), (torch.float32, torch.bfloat16)], ids=["bf16 slow", "fp32 slow"]
)
def test_the_faster_type_is_chosen(monkeypatch, measured_anew, slow, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.Tensor, "__matmul__", _slow_for(slow, torch.Tensor.__matmul__))
    assert precision.autocast() == chosen


def test_without_the_instructions_nothing_is_measured(monkeypatch, measured_anew):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: pytest.fail("multiplied"))
    assert precision.autocast() is None


def test_a_gpu_takes_bfloat16_and_other_devices_float32():
    assert precision.autocast("cuda") == torch.bfloat16
    assert precision.autocast("mps") is None


def test_inside_the_context_a_network_answers_nearly_the_same():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 64), torch.randn(8, 64)
    with precision.fast():
        y = layer(x)
    assert y.dtype in (torch.float32, precision.autocast())
    torch.testing.assert_close(y.float(), layer(x), rtol=0.02, atol=0.05)
