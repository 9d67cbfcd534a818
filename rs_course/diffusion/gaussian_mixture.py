"""A Gaussian mixture: the one data distribution whose score is known exactly at every noise level.

Noise turns each component N(μ_k, C_k) into N(a μ_k, a² C_k + s² I), with a = √ᾱ_t and s = √(1 − ᾱ_t); so
the density of x_t, its score ∇ log q(x_t), and the best possible denoiser E[x_0 | x_t] are formulas. A
sampler's error then is the sampler's alone: no network is to blame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rs_course import seeds
from rs_course.diffusion.process import Denoise
from rs_course.diffusion.schedules import Schedule

# Far from the streams of samplers: with one and the same seed, data and noise stay independent.
_LABELS, _POSITIONS = 2**31, 2**31 + 1


@dataclass(frozen=True)
class GaussianMixture:
    """Weights ``[K]``, means ``[K, D]`` and covariances ``[K, D, D]`` (float64)."""

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    def __post_init__(self):
        k, d = self.means.shape
        if self.weights.shape != (k,) or self.covariances.shape != (k, d, d):
            raise ValueError(
                f"means are {[k, d]}, so weights must be {[k]} and covariances {[k, d, d]}, "
                f"not {list(self.weights.shape)} and {list(self.covariances.shape)}."
            )
        if not torch.isclose(self.weights.sum(), torch.ones((), dtype=self.weights.dtype)):
            raise ValueError(f"weights sum to {self.weights.sum().item():.4g}; they must sum to 1.")

    @classmethod
    def ring(cls) -> GaussianMixture:
        """The course's toy world: six elongated clusters on a circle in the plane."""
        count, radius, spread = 6, 1.5, 0.15
        angle = 2 * torch.pi * torch.arange(count, dtype=torch.float64) / count
        outward = torch.stack([angle.cos(), angle.sin()], dim=-1)  # [K, 2]
        stretch = torch.einsum("ki,kj->kij", outward, outward)
        covariances = spread**2 * (torch.eye(2, dtype=torch.float64) + 3 * stretch)
        return cls(torch.full((count,), 1 / count, dtype=torch.float64), radius * outward, covariances)

    def component(self, k: int) -> GaussianMixture:
        """Component k alone: the distribution of "class" k."""
        return GaussianMixture(
            torch.ones_like(self.weights[:1]), self.means[k : k + 1], self.covariances[k : k + 1]
        )

    def sample(self, count: int, *, seed: int = 0, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Points ``[N, D]`` and their components ``[N]``; point i is a function of (seed, i)."""
        draws = [seeds.generator(seed, i, stream=_LABELS).random() for i in range(start, start + count)]
        labels = torch.bucketize(torch.tensor(draws, dtype=torch.float64), self.weights.cumsum(0)[:-1])
        z = seeds.noise(
            (count, self.means.shape[1]), seed=seed, start=start, stream=_POSITIONS, dtype=self.means.dtype
        )
        root = torch.linalg.cholesky(self.covariances)[labels]
        return self.means[labels] + torch.einsum("nij,nj->ni", root, z), labels

    def log_prob(self, x: torch.Tensor, a: float = 1.0, s: float = 0.0) -> torch.Tensor:
        """log q(x) of the data (a = 1, s = 0) or of a x_0 + s ε: ``[N]``."""
        return self._joint(x, a, s)[0].logsumexp(1)

    def score(self, x: torch.Tensor, a: float = 1.0, s: float = 0.0) -> torch.Tensor:
        """∇_x log q(x), ``[N, D]``: each component's −Σ_k⁻¹ (x − a μ_k), weighted by its responsibility."""
        log_joint, whitened = self._joint(x, a, s)
        return -torch.einsum("nk,nkd->nd", log_joint.softmax(1), whitened)

    def responsibilities(self, x: torch.Tensor) -> torch.Tensor:
        """p(component | x) of the data, ``[N, K]``."""
        return self._joint(x, 1.0, 0.0)[0].softmax(1)

    def posterior_mean(self, x: torch.Tensor, a: float, s: float) -> torch.Tensor:
        """E[x_0 | a x_0 + s ε = x], ``[N, D]``: the best denoiser there is (also at a = 0)."""
        log_joint, whitened = self._joint(x, a, s)
        means = self.means.to(x) + a * torch.einsum("kij,nkj->nki", self.covariances.to(x), whitened)
        return torch.einsum("nk,nkd->nd", log_joint.softmax(1), means)

    def denoiser(self, schedule: Schedule) -> Denoise:
        """The exact ``denoise(xt, t) -> (x0, eps)``, for any sampler."""

        def denoise(xt, t):
            bar = schedule.at(t).item()
            a, s = bar**0.5, (1 - bar) ** 0.5
            x0 = self.posterior_mean(xt, a, s)
            return x0, (xt - a * x0) / s

        return denoise

    def _joint(self, x, a, s):
        """log π_k N(x; a μ_k, Σ_k) ``[N, K]`` and Σ_k⁻¹ (x − a μ_k) ``[N, K, D]``; Σ_k = a² C_k + s² I."""
        means, covariances, weights = self.means.to(x), self.covariances.to(x), self.weights.to(x)
        d = means.shape[1]
        root = torch.linalg.cholesky(a**2 * covariances + s**2 * torch.eye(d).to(x))
        offset = (x[:, None] - a * means)[..., None]  # [N, K, D, 1]
        whitened = torch.cholesky_solve(offset, root)
        log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        quadratic = (offset * whitened).sum((-2, -1))
        constant = d * torch.log(torch.tensor(2 * torch.pi)).to(x)
        return weights.log() - (quadratic + log_det + constant) / 2, whitened[..., 0]
