import itertools

import pytest
import torch
from torch import nn

from rs_course import seeds
from rs_course.diffusion import process, samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.process import EMA, min_snr_weight, train

SCHEDULE = schedules.linear()


class Linear(nn.Module):
    """eps = w_t · x: for standard normal data the best answer, w_t = √(1 − ᾱ_t), is known."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1000))

    def forward(self, x, t):
        return self.w[t][:, None] * x


def batches(first=0):
    k = first
    while True:
        yield (seeds.noise((2048, 1), seed=1, stream=k),)
        k += 1


@pytest.mark.slow
def test_learns_the_known_optimum():
    model = Linear()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    ema = EMA(model, 0.97)
    for progress in train(model, batches(), SCHEDULE, optimizer, ema=ema):
        if progress.step == 150:
            break
    want = (1 - SCHEDULE.alpha_bar).sqrt().float()
    for network in (model, ema.module):
        assert (network.w - want).detach()[20:].square().mean().sqrt() < 0.1
    assert not ema.module.w.requires_grad


def test_a_step_is_torchs_clipped_step_and_the_average_follows():
    ours, theirs = Linear(), Linear()
    ema, average = EMA(ours, 0.5), torch.zeros(1000)
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.05) for model in (ours, theirs)]
    options = {"ema": ema, "clip_norm": 1e-3, "seed": 3}
    training = train(ours, batches(), SCHEDULE, optimizers[0], **options)
    for step, (progress, (x0,)) in enumerate(zip(itertools.islice(training, 4), batches(), strict=False)):
        draw = torch.Generator().manual_seed(3 * 1_000_003 + step)
        t = torch.randint(1000, (len(x0),), generator=draw)
        eps = torch.randn(x0.shape, generator=draw)
        loss = (theirs(process.add_noise(x0, eps, t, SCHEDULE), t) - eps).square().mean()
        optimizers[1].zero_grad()
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e-3) > 1e-3
        optimizers[1].step()
        average.lerp_(theirs.w.data, 1 - min(0.5, (2 + step) / (11 + step)))
        assert progress.loss == pytest.approx(loss.item(), rel=1e-6)
        torch.testing.assert_close(ours.w, theirs.w)
        torch.testing.assert_close(ema.module.w.data, average)


def test_interrupted_training_goes_on_exactly():
    def run(model, optimizer, steps, first=0):
        for progress in train(model, batches(first), SCHEDULE, optimizer, first_step=first):
            if progress.step == first + steps - 1:
                return progress.loss

    whole = Linear()
    straight = run(whole, torch.optim.Adam(whole.parameters(), lr=0.01), 6)
    first = Linear()
    optimizer = torch.optim.Adam(first.parameters(), lr=0.01)
    run(first, optimizer, 3)
    second = Linear()
    second.load_state_dict(first.state_dict())
    again = torch.optim.Adam(second.parameters(), lr=0.01)
    again.load_state_dict(optimizer.state_dict())
    assert run(second, again, 3, first=3) == straight
    assert torch.equal(second.w, whole.w)


def test_min_snr_is_the_same_objective_in_every_parameterisation():
    t = torch.arange(0, 1000, 50)
    x0, eps, wrong = (seeds.noise((len(t), 4), seed=k, dtype=torch.float64) for k in range(3))
    xt = process.add_noise(x0, eps, t, SCHEDULE)
    values = []
    for kind in ("x0", "eps", "v"):
        # One and the same wrong answer, said in three ways.
        guess_eps = process.split(wrong, xt, t, SCHEDULE, "x0")[1]
        v = process.target(wrong, guess_eps, t, SCHEDULE, "v")
        guess = {"x0": wrong, "eps": guess_eps, "v": v}[kind]
        error = (guess - process.target(x0, eps, t, SCHEDULE, kind)).square().mean(1)
        values.append(min_snr_weight(t, SCHEDULE, kind) * error)
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])
    zero = schedules.zero_terminal_snr(SCHEDULE)
    assert min_snr_weight(torch.tensor([999]), zero, "eps").item() == 1


def test_a_small_network_learns_the_plane():
    mixture = GaussianMixture.ring()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def network(x, t):
        u = t[:, None].float() / 1000 * torch.pi * torch.tensor([0.5, 1, 2, 4])
        return model(torch.cat([x, u.sin(), u.cos()], 1))

    network.parameters = model.parameters
    data, _ = mixture.sample(2048, seed=0)
    draws = (
        (data[torch.randperm(2048, generator=torch.Generator().manual_seed(k))[:512]].float(),)
        for k in range(400)
    )
    for _ in train(network, draws, SCHEDULE, torch.optim.Adam(model.parameters(), 3e-3)):
        pass
    denoise = process.denoiser(network, SCHEDULE)
    x = samplers.final(samplers.ddim(denoise, seeds.noise((500, 2), seed=0), SCHEDULE, 50)).double()
    uniform = mixture.log_prob(3 * torch.randn(500, 2, generator=torch.Generator().manual_seed(1)).double())
    assert mixture.log_prob(x).median() > uniform.median() + 5


def test_a_weighting_of_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="prediction_type is 'eps_'; choose one of"):
        min_snr_weight(torch.tensor([1]), SCHEDULE, "eps_")
