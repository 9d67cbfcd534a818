"""FID's Inception-v3: shapes, its two ways of resizing, and torch-fidelity's network where it installs."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rs_course.alignment.preparation import pillow_weights
from rs_course.metrics import inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights in the published layout, with features that differ between images."""
    network = inception.InceptionV3()
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("conv.weight"):
            scale = (2 / value[0].numel()) ** 0.5
            state[key] = scale * torch.randn(value.shape, generator=generator)
        elif key.endswith(("bn.bias", "running_mean")):
            state[key] = 0.1 * torch.randn(value.shape, generator=generator)
    file = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    save_file(state, file)
    return file


@pytest.fixture(scope="module")
def network(weights):
    return inception.load(weights, device="cpu")


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 40, 64, generator=torch.Generator().manual_seed(1))


def test_size_of_the_network_is_that_of_the_published_one(network):
    """torchvision's Inception v3 has 23,834,568 parameters without its auxiliary branch."""
    convolutions = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("fc."))
    assert convolutions == 23_834_568 - 1000 * (2048 + 1)
    assert network.fc.weight.shape == (1008, 2048)


def test_features_and_probabilities(network, images):
    features = network.features(images, batch_size=1)
    assert features.shape == (2, 2048) and features.dtype == torch.float32
    assert (features[0] - features[1]).abs().max() > 1e-3
    array = (images[:1] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(network.features(array), features[:1], rtol=1e-4, atol=1e-5)
    probabilities = network.probabilities(features)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert (network.features(array, resize="clean") - features[:1]).abs().max() > 1e-4


def test_tensorflow_resize_is_linear_between_its_anchors():
    """A ramp stays a ramp i · side/299 up to the last pixel, beyond which there is nothing to go to."""
    ramp = torch.arange(64, dtype=torch.float64)
    expected = (torch.arange(299, dtype=torch.float64) * 64 / 299).clamp(max=63)
    torch.testing.assert_close(inception._tensorflow_weights(64) @ ramp, expected)


def test_clean_resize_is_pillows_without_rounding():
    pixels = np.random.default_rng(0).uniform(0, 255, (40, 64)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(pixels, mode="F").resize((299, 299), Image.BICUBIC))
    down, across = pillow_weights(40, 299, "bicubic"), pillow_weights(64, 299, "bicubic")
    ours = down @ torch.from_numpy(pixels).double() @ across.T
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_equal_to_torch_fidelity(network, weights, images, tmp_path):
    package = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3",
        reason="torch-fidelity needs torchvision",
        exc_type=ImportError,
    )
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)
    theirs = package.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(file))
    features, logits = theirs((images * 255).round().to(torch.uint8))
    ours = network.features(images)
    torch.testing.assert_close(ours, features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.probabilities(ours), logits.softmax(1), rtol=1e-4, atol=1e-7)
    again = inception.load(file, device="cpu")
    torch.testing.assert_close(again.features(images), ours)


def test_mistakes_are_named(network, images, tmp_path):
    with pytest.raises(ValueError, match="resize='bicubic': choose 'tensorflow'"):
        network.features(images, resize="bicubic")
    with pytest.raises(ValueError, match="images is grey"):
        network.features(images[:, :1])
    with pytest.raises(FileNotFoundError):
        inception.load(tmp_path / "nothing.pth")
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not fit InceptionV3"):
        inception.load(tmp_path / "other.safetensors")
