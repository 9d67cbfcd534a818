"""Training: the loss it minimises, its determinism, and that it learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from classification.conftest import coloured
from rs_course.classification import classifiers, fit, predict
from rs_course.classification.training import _order, one_cycle, steps_of
from rs_course.training_loop import Progress

QUICK = {"steps": 25, "batch_size": 24}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.state_dict().values() if p.is_floating_point()])


def test_it_learns_and_depends_on_the_seed_alone():
    train, test = coloured(20), coloured(20, seed=9)
    state = torch.random.get_rng_state()
    first, again, other = (fit(train.images, train.labels, seed=seed, **QUICK) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))
    p = predict(first, test.images)
    assert torch.allclose(p.sum(1), torch.ones(60), atol=1e-5)
    assert (p.argmax(1).numpy() == test.labels).mean() > 0.9
    averaged = predict(first, test.images, symmetries=True)
    turned = predict(first, np.rot90(test.images, 1, (1, 2)), symmetries=True)
    assert torch.allclose(averaged, turned, atol=1e-5)


def test_a_measured_number_type_does_not_change_what_a_processor_learns(monkeypatch):
    train, found = coloured(4), []
    for faster in (None, torch.bfloat16):
        monkeypatch.setattr("rs_course.precision.autocast", lambda device="cpu", faster=faster: faster)
        found.append(fit(train.images, train.labels, steps=3, batch_size=8))
    assert torch.equal(*map(weights, found))


def test_floats_and_bytes_are_the_same_images():
    train = coloured(4)
    floats = torch.from_numpy(train.images).permute(0, 3, 1, 2).float() / 255
    one = fit(train.images, train.labels, steps=3, batch_size=8)
    two = fit(floats, train.labels, steps=3, batch_size=8)
    assert torch.equal(weights(one), weights(two))


def test_labels_and_their_one_hot_targets_are_the_same():
    train = coloured(4)
    targets = np.eye(3, dtype=np.float32)[train.labels]
    one, two = (fit(train.images, y, steps=3, batch_size=8) for y in (train.labels, targets))
    assert torch.equal(weights(one), weights(two))


def test_one_step_of_two_sets_is_the_weighted_gradient():
    """CE(real) + w · CE(synthetic), against plain torch on a linear model."""
    generator = torch.Generator().manual_seed(0)
    x, z = torch.rand(4, 5, generator=generator), torch.rand(6, 5, generator=generator)
    y, t = F.one_hot(torch.arange(4) % 3, 3).float(), torch.rand(6, 3, generator=generator).softmax(1)
    model, reference = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    reference.load_state_dict(model.state_dict())
    loss = F.cross_entropy(reference(x), y) + 0.7 * F.cross_entropy(reference(z), t)
    run = steps_of(
        model, [(x, y), (z, t)], weights=(1, 0.7), steps=1, batches=(4, 6), lr=1e-2, weight_decay=0.0
    )
    assert next(run).loss == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-7)


def test_steps_are_those_of_torch_with_its_label_smoothing_schedule_and_clipping():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(4, 5, generator=generator), torch.rand(4, 3, generator=generator).softmax(1)
    model, reference = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    reference.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-2, weight_decay=0.3, fused=True)
    rows = _order(4, 4, np.random.default_rng([0, 0]))
    run = steps_of(
        model, [(x, y)], weights=[1], steps=3, batches=[4], lr=1e-2, weight_decay=0.3,
        label_smoothing=0.2, clip_norm=0.1, fast=False,
    )  # fmt: skip
    for step, progress in enumerate(run):
        order = next(rows)
        loss = F.cross_entropy(reference(x[order]), y[order], label_smoothing=0.2)
        assert progress.loss == loss.item()
        optimizer.param_groups[0]["lr"] = 1e-2 * one_cycle(3)(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.1)
        optimizer.step()
    assert step == 2 and torch.equal(weights(model), weights(reference))


def test_fit_smooths_labels():
    train = coloured(4)

    def trained(targets, **options):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(train.images[0].size, 3))
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        return weights(
            fit(
                train.images,
                targets,
                classifier=model,
                steps=4,
                batch_size=4,
                progressive_resizing=(),
                **options,
            )
        )

    smooth = 0.9 * np.eye(3, dtype=np.float32)[train.labels] + 0.1 / 3
    by_hand = trained(smooth, label_smoothing=0)
    assert torch.allclose(trained(train.labels, label_smoothing=0.1), by_hand, atol=1e-6)
    assert torch.equal(trained(train.labels), trained(train.labels, label_smoothing=0.1))  # the default
    assert not torch.allclose(trained(train.labels, label_smoothing=0), by_hand, atol=1e-5)


def test_every_image_once_before_any_twice():
    batches = _order(10, 4, np.random.default_rng(0))
    rows = np.concatenate([next(batches) for _ in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    few = next(_order(3, 8, np.random.default_rng(0)))  # a small set fills a batch by repetition
    assert len(few) == 8 and np.bincount(few).min() >= 2


def test_steps_yield_what_a_notebook_plots():
    train = coloured(4)
    model = classifiers.build("small-cnn", 3)
    x, y = (
        torch.from_numpy(train.images).permute(0, 3, 1, 2),
        F.one_hot(torch.from_numpy(train.labels)).float(),
    )
    seen = list(steps_of(model, [(x, y)], weights=[1], steps=4, batches=[8], lr=1e-3, weight_decay=0.01))
    assert [progress.step for progress in seen] == [0, 1, 2, 3]
    assert all(isinstance(progress, Progress) and progress.loss > 0 for progress in seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, "12 images and 2 labels"),
        ({"labels": [0, 1, 5] * 4, "classes": 3}, "The label 5 is not possible: with 3 classes"),
        ({"labels": [0, 1, -1] * 4}, "The label -1 is not possible"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8), "labels": []}, "the set is empty"),
        ({"images": np.zeros((12, 3, 8, 8), np.uint8)}, r"uint8 arrays are \[N, H, W, 3\]"),
        ({"images": torch.full((12, 3, 8, 8), 7.0)}, r"images here lie in \[0, 1\]"),
        ({"labels": np.full((12, 3), 0.5)}, "rows sum to one"),
        ({"steps": 0}, "at least one step"),
        ({"augment": "blur"}, "no augmentation 'blur'"),
        ({"classifier": "resnet-9000"}, "neither small-cnn nor wide-cnn nor small-vit"),
    ],
)
def test_bad_input_is_one_sentence(change, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    train = coloured(4)
    call = {
        "images": train.images,
        "labels": train.labels,
        "classes": 3,
        "steps": 1,
        "batch_size": 4,
    } | change
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        fit(call.pop("images"), call.pop("labels"), **call)


def test_a_pretrained_network_of_transformers_keeps_its_preparation(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    body = ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=7, layer_type="basic")
    )
    body.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "size": {"height": 48, "width": 48}, '
        '"image_processor_type": "ViTImageProcessor"}'
    )
    model = classifiers.build(str(tmp_path), 3).eval()
    assert model.size == (48, 48) and model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model(x).shape == (2, 3)
        large = F.interpolate(x, (48, 48), mode="bicubic", antialias=True).clamp(0, 1)
        prepared = (large - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(
            3, 1, 1
        )
        assert torch.allclose(
            model.body.resnet(prepared).pooler_output, body.eval().resnet(prepared).pooler_output
        )
    train = coloured(4)
    fit(train.images, train.labels, classifier=model, steps=2, batch_size=4, lr=1e-3)


def test_the_transformer_learns_too():
    train = coloured(8)
    model = fit(train.images, train.labels, classifier="small-vit", steps=8, batch_size=12, lr=2e-3)
    assert (predict(model, train.images).argmax(1).numpy() == train.labels).mean() > 0.6
