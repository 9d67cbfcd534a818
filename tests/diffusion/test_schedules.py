import diffusers
import pytest
import torch

from rs_course.diffusion import schedules
from rs_course.diffusion.schedules import Schedule


@pytest.mark.parametrize(
    ("ours", "config"),
    [
        (schedules.linear(), {}),
        (schedules.linear(50), {"num_train_timesteps": 50}),
        (
            schedules.scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (schedules.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (schedules.zero_terminal_snr(schedules.linear()), {"rescale_betas_zero_snr": True}),
    ],
)
def test_equal_to_diffusers(ours, config):
    theirs = diffusers.DDIMScheduler(**config)
    # diffusers multiplies a thousand float32 numbers.
    torch.testing.assert_close(ours.alpha_bar, theirs.alphas_cumprod.double(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ours.beta[:-1], theirs.betas[:-1].double(), rtol=1e-4, atol=2e-6)


def test_relations_between_the_columns():
    s = schedules.scaled_linear()
    torch.testing.assert_close(s.alpha.cumprod(0), s.alpha_bar)
    torch.testing.assert_close(1 / s.sigma**2, s.snr)
    assert len(s) == 1000
    assert s.alpha_bar.dtype == torch.float64


def test_zero_terminal_snr_keeps_the_first_level():
    before, after = schedules.linear(), schedules.zero_terminal_snr(schedules.linear())
    assert after.alpha_bar[-1] == 0
    assert after.alpha_bar[0] == before.alpha_bar[0]
    assert after.beta[-1] == 1


def test_at_whole_real_and_clean_steps():
    s = schedules.zero_terminal_snr(schedules.linear())
    assert s.at(-1) == 1
    assert s.at(999) == 0
    t = torch.tensor([[0, 5], [998, 999]])
    assert torch.equal(s.at(t), s.alpha_bar[t])
    bar = s.at(5.25)
    torch.testing.assert_close(((1 - bar) / bar).sqrt(), 0.75 * s.sigma[5] + 0.25 * s.sigma[6])
    assert s.alpha_bar[0] < s.at(-0.5) < 1


def test_coefficients_follow_the_tensor():
    x = torch.zeros(3, 2, 4, 4, dtype=torch.bfloat16)
    a, s = schedules.linear().coefficients(torch.tensor([0, 500, 999]), x)
    assert a.shape == s.shape == (3, 1, 1, 1)
    assert a.dtype == torch.bfloat16
    assert schedules.linear().coefficients(7, x)[0].shape == (1, 1, 1, 1)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="outside the schedule"):
        schedules.linear().at(1000)
    with pytest.raises(ValueError, match="fall from"):
        Schedule(torch.tensor([0.5, 0.9]))
