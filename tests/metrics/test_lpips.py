"""LPIPS equals the package ``lpips`` 0.1.4 on the same weights, which a formula makes.

The expected numbers come from ``lpips.LPIPS(net=..., pretrained=False)`` filled with the same formula.
"""

import numpy as np
import pytest
import torch
from checkpoints.tiny import formula

from rs_course.metrics import lpips

EXPECTED = {
    "alex": (0.18606580793857574, 0.0033297480549663305),
    "vgg": (0.1289708912372589, 0.0050542098470032215),
}


def picture(k):
    y, x = np.mgrid[:64, :72] / 64
    return np.stack([0.5 + 0.45 * np.sin(6 * x * (c + 1) + 3 * y * (k + 1) + c) for c in range(3)])


@pytest.fixture(scope="module")
def pair():
    first, second = (picture(0), picture(1)), (picture(2), 0.9 * picture(1))
    return tuple(torch.tensor(np.stack(pictures)).float() for pictures in (first, second))


def weights(network):
    """Formula weights under torchvision's keys and under those of the published heads."""
    model = lpips.LPIPS(network)
    features = {
        f"features.{key}": formula(f"{network}.{key}", value.shape)
        for key, value in model.features.state_dict().items()
    }
    heads = {
        f"lin{k}.model.1.weight": formula(f"{network}.lin{k}.model.1.weight", head.weight.shape).abs()
        for k, head in enumerate(model.heads)
    }
    return features, heads


@pytest.mark.parametrize("network", EXPECTED)
def test_equals_the_package_from_two_files(network, pair, tmp_path):
    features, heads = weights(network)
    torch.save({**features, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "features.pth")
    torch.save(heads, tmp_path / "heads.pth")
    distance = lpips.load(network, tmp_path / "features.pth", tmp_path / "heads.pth", device="cpu")
    torch.testing.assert_close(distance(*pair), torch.tensor(EXPECTED[network]), atol=1e-6, rtol=1e-5)
    assert distance(pair[0], pair[0]).tolist() == [0.0, 0.0]


def test_equals_the_package_from_its_own_file(pair, tmp_path):
    features, heads = weights("alex")
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    whole = {
        f"net.slice{slices[int(key.split('.')[1])]}.{key.removeprefix('features.')}": value
        for key, value in features.items()
    }
    twice = {key.replace("lin", "lins.").replace("lins..", "lins."): value for key, value in heads.items()}
    torch.save({**whole, **heads, **twice, "scaling_layer.shift": torch.zeros(1)}, tmp_path / "whole.pth")
    distance = lpips.load("alex", tmp_path / "whole.pth", device="cpu")
    torch.testing.assert_close(distance(*pair), torch.tensor(EXPECTED["alex"]), atol=1e-6, rtol=1e-5)


def test_heads_that_torchmetrics_brings_are_the_published_ones(tmp_path):
    torch.save(weights("alex")[0], tmp_path / "features.pth")
    distance = lpips.load("alex", tmp_path / "features.pth", device="cpu")
    assert all(head.weight.min() >= 0 for head in distance.heads)  # trained under this constraint
    assert [head.weight.shape[1] for head in distance.heads] == [64, 192, 384, 256, 256]


def test_as_a_loss_it_pulls_towards_the_target(pair, tmp_path):
    features, heads = weights("alex")
    torch.save({**features, **heads}, tmp_path / "both.pth")
    distance = lpips.load("alex", tmp_path / "both.pth", device="cpu")
    start, target = (part[:1] for part in pair)
    x = start.clone().requires_grad_()
    distance(x, target).sum().backward()
    with torch.no_grad():
        nearer = (x - 1e-3 * x.grad.sign()).clamp(0, 1)
    assert distance(nearer, target) < distance(start, target)


def test_what_is_wrong_is_said(pair, tmp_path):
    features, heads = weights("alex")
    torch.save(features, tmp_path / "features.pth")
    torch.save(heads, tmp_path / "heads.pth")
    with pytest.raises(ValueError, match="choose 'alex' or 'vgg'"):
        lpips.load("squeeze", tmp_path / "features.pth")
    with pytest.raises(ValueError, match=r"lacks features\.0\.bias"):
        lpips.load("alex", tmp_path / "heads.pth")
    with pytest.raises(FileNotFoundError, match="There is no weight file"):
        lpips.load("alex", tmp_path / "nothing.pth")
    distance = lpips.load("alex", tmp_path / "features.pth", tmp_path / "heads.pth", device="cpu")
    with pytest.raises(ValueError, match="pairs of one size"):
        distance(pair[0], pair[1][..., :64])
    with pytest.raises(ValueError, match="31 pixels are the least"):
        distance(pair[0][..., :30], pair[1][..., :30])
    with pytest.raises(ValueError, match="values in"):
        distance(255 * pair[0], pair[1])
