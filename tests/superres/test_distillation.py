"""Spatial affinity distillation equals the reference values and gradients (FAKD's normalisation)."""

import pytest
import torch

from rs_course.superres.distillation import affinity, distillation_loss, spatial_affinity_loss


def maps_of(golden, case, kind, layers):
    return [golden[f"sad.{case}.{kind}{i}"].requires_grad_(kind == "student") for i in range(layers)]


def test_losses_and_gradients(golden):
    for case, meta in golden.numbers["sad"]["cases"].items():
        layers = len(meta["per_layer"])
        student, teacher = (maps_of(golden, case, kind, layers) for kind in ("student", "teacher"))
        loss = spatial_affinity_loss(student, teacher)
        loss.backward()
        mean = spatial_affinity_loss(student, teacher, reduction="mean")
        assert loss.item() == pytest.approx(meta["fakd_reference_sum_over_layers"], abs=1e-10)
        assert mean.item() == pytest.approx(meta["mean_over_layers"], abs=1e-10)
        assert torch.allclose(affinity(student[0]), golden[f"sad.{case}.affinity_student0"], atol=1e-10)
        for i, feature in enumerate(student):
            raw = spatial_affinity_loss([feature], [teacher[i]], normalise=False).item()
            assert raw == pytest.approx(meta["per_layer"][i]["unnormalised_mean_abs"], abs=1e-9)
            if (key := f"sad.{case}.grad_student{i}_of_l2norm_mean_abs") in golden:
                assert torch.allclose(feature.grad, golden[key], atol=1e-12)
        assert all(f.grad is None for f in teacher)


def test_affinity_is_the_cosine_of_pixels():
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = affinity(features)
    first, second = features[1, :, 0, 2], features[1, :, 2, 1]
    assert a[1, 2, 9].item() == pytest.approx(torch.cosine_similarity(first, second, dim=0).item(), abs=1e-7)
    assert torch.allclose(a, a.transpose(1, 2))


def test_affinity_forgets_the_channel_basis():
    """Rotating the channels changes nothing: distilled is which pixels are alike, not how that is coded."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 6, 4, 4, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    assert torch.allclose(affinity(features), affinity(torch.einsum("oc,nchw->nohw", rotation, features)))


def test_total_loss_adds_weighted_terms():
    a, b, c = (torch.full((1, 3, 4, 4), v) for v in (0.1, 0.3, 0.6))
    terms = distillation_loss(a, b, c, weights=(10, 1, 1), reconstruction="l2")
    assert terms["total"].item() == pytest.approx(10 * 0.25 + 0.2, rel=1e-6)
    score = distillation_loss(a, b, a + 0.1, reconstruction="psnr")["reconstruction"]
    assert score.item() == pytest.approx(-0.2, abs=1e-4)  # 20 dB


def test_bad_maps():
    s = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ValueError, match="must agree in number, height and width"):
        spatial_affinity_loss([s], [torch.zeros(1, 2, 3, 4)])
    with pytest.raises(ValueError, match="1 student and 2 teacher maps"):
        spatial_affinity_loss([s], [s, s])
    with pytest.raises(ValueError, match="reduction='max'"):
        spatial_affinity_loss([s], [s], reduction="max")
    with pytest.raises(ValueError, match=r"takes \[N, C, h, w\]"):
        affinity(s[0])
    with pytest.raises(ValueError, match="must have one shape"):
        distillation_loss(s, s, torch.zeros(1, 2, 6, 6))
    with pytest.raises(ValueError, match="'l1', 'l2' or 'psnr'"):
        distillation_loss(s, s, s, reconstruction="l3")
