"""ConvLoRA and distillation, as the DSCF repository has them."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rs_course import superres
from rs_course.superres import conv_lora
from rs_course.superres.learning import affinity, distillation_loss, spatial_affinity_loss


def test_layer_equals_official(golden):
    for name, meta in golden.numbers["lora"].items():
        if name == "r0_eval":
            continue
        k = meta["k"]
        conv = nn.Conv2d(meta["in"], meta["out"], k, padding=k // 2)
        conv.weight.data, conv.bias.data = golden[f"lora.{name}.weight"], golden[f"lora.{name}.bias"]
        layer = conv_lora.ConvLoRA(conv, meta["r"], meta["alpha"])
        assert [list(layer.lora_A.shape), list(layer.lora_B.shape)] == [meta["A_shape"], meta["B_shape"]]
        layer.lora_A.data, layer.lora_B.data = golden[f"lora.{name}.A"], golden[f"lora.{name}.B"]
        y = layer(golden[f"lora.{name}.x"])
        y.square().mean().backward()
        merged = layer.merged()
        pairs = {
            "y_unmerged": y,
            "y_merged": merged(golden[f"lora.{name}.x"]),
            "weight_merged": merged.weight,
            **{f"grad_mean_y2.{p}": getattr(layer, p).grad for p in ("lora_A", "lora_B", "bias")},
        }
        for key, value in pairs.items():
            # The stored outputs are float32 sums of 234 products: float64 is up to 7e-6 away from them.
            close = 1e-5 if key.startswith("y_") else 1e-6
            assert torch.allclose(value, golden[f"lora.{name}.{key}"], atol=close, rtol=close), (name, key)
        assert layer.weight.grad is None
        back = conv_lora.unmerged(merged, layer.lora_A, layer.lora_B, alpha=meta["alpha"])
        assert torch.allclose(back.weight, conv.weight, atol=2e-7)


def test_whole_student_equals_official(golden):
    network = superres.load(golden.folder / "team23_DSCF.safetensors")
    keys = list(network.state_dict())
    x = golden["lora_student.in"]
    with torch.no_grad():
        assert torch.allclose(network(x), golden["lora_student.out_base_without_lora"], atol=1e-5)
        conv_lora.add(network)
        assert torch.allclose(network(x), golden["lora_student.out_base_without_lora"], atol=1e-5)
        result = network.load_state_dict(
            load_file(golden.folder / "dscf_lora_student_AB.safetensors"), strict=False
        )
        assert not result.unexpected_keys
        assert torch.allclose(network(x), golden["lora_student.out_unmerged"], atol=1e-5)
        out, maps = network(golden["lora_student.feat_in"], return_features=True)
        assert torch.allclose(out, golden["lora_student.feat_out"], atol=1e-5)
        for i, feature in enumerate(maps["convolutions"]):
            expected = golden[f"lora_student.feat{i}"]
            assert (feature - expected).abs().max() <= 1e-5 * expected.abs().max()
        conv_lora.merge(network)
        assert torch.allclose(network(x), golden["lora_student.out_merged"], atol=1e-5)
    assert list(network.state_dict()) == keys


def test_trainable_parameters_of_dscf():
    network = conv_lora.add(superres.SPAN(26))
    trained = [p for p in network.parameters() if p.requires_grad]
    assert (len(trained), sum(p.numel() for p in trained)) == (40, 25_920)
    adapted = conv_lora.mark_trainable(network, bias="lora_only")
    assert sum(name.endswith("bias") for name in adapted) == 20
    assert sum(name.endswith("bias") for name in conv_lora.mark_trainable(network, bias="all")) == 22
    with pytest.raises(ValueError, match="bias='some'"):
        conv_lora.mark_trainable(network, bias="some")


def test_update_is_the_row_major_reshape_and_of_low_rank():
    torch.manual_seed(0)
    a, b = torch.randn(6, 15, dtype=torch.float64), torch.randn(12, 6, dtype=torch.float64)
    delta = conv_lora.delta_weight(a, b, (4, 5, 3, 3), alpha=4)
    product = 2.0 * (b @ a)
    # Row o·k + r of the product, read on, fills output channel o from flat offset r·I·k.
    o, r, q = 2, 1, 7
    assert delta[o].flatten()[r * 15 + q] == product[o * 3 + r, q]
    assert torch.linalg.matrix_rank(delta.reshape(12, 15)) == 6


def test_bad_adapters():
    with pytest.raises(ValueError, match="rank=0"):
        conv_lora.ConvLoRA(nn.Conv2d(2, 2, 3), 0, 1.0)
    with pytest.raises(ValueError, match="without groups"):
        conv_lora.ConvLoRA(nn.Conv2d(2, 2, 3, groups=2), 1, 1.0)
    with pytest.raises(ValueError, match="do not fit a kernel"):
        conv_lora.delta_weight(torch.ones(3, 6), torch.ones(9, 6), (3, 2, 3, 3), alpha=1)
    with pytest.raises(ValueError, match="'conv_9' is no plain convolution of SPAN"):
        conv_lora.add(superres.SPAN(4), {"conv_9": (1, 1.0)})


@torch.no_grad()
def test_unmerge_gives_back_the_base_and_its_update(photograph):
    torch.manual_seed(0)
    base = superres.SPAN(26)
    adapted = conv_lora.add(copy.deepcopy(base))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.01)
    factors = conv_lora.factors_of(adapted)
    merged = conv_lora.merge(copy.deepcopy(adapted))
    again = conv_lora.unmerge(copy.deepcopy(merged), factors)
    assert sum(p.numel() for p in again.parameters() if p.requires_grad) == 25_920
    for key, value in adapted.state_dict().items():
        assert torch.allclose(again.state_dict()[key], value, atol=1e-6), key
    with pytest.raises(ValueError, match=r"factors of 'conv_2\.eval_conv' are missing"):
        conv_lora.unmerge(merged, {})


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
