"""The loop that trains every network: each of its parts equals torch's own, step by step."""

import copy
import itertools
import json
import math
import threading
from dataclasses import replace

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rs_course import training_loop
from rs_course.training_loop import EMA, Budget, Recipe, ahead, by_step, cosine_decay, linear_decay, optimize

RECIPE = Recipe(lr=0.1, decay=linear_decay(0.5), warmup=4, clip_norm=0.5, log_every=3)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def batch(draw):
    return (torch.from_numpy(draw.normal(size=(8, 3))).float(),)


def loss_of(model):
    return lambda batch, step: 100 * (model(batch[0]) - 1).square().mean()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def fit(model, budget, recipe=RECIPE, **options):
    return training_loop.fit(model, by_step(batch, 5), loss_of(model), recipe, budget, **options)


def test_a_training_is_what_torch_does_step_by_step():
    ours, theirs = network(), network()
    ema, average = EMA(ours, 0.9), copy.deepcopy(theirs)
    optimizer = torch.optim.AdamW(
        theirs.parameters(), lr=0.1, betas=RECIPE.betas, weight_decay=RECIPE.weight_decay, fused=True
    )
    batches = by_step(batch, 5)(0)
    for k, progress in enumerate(fit(ours, Budget(steps=8), ema=ema)):
        loss = loss_of(theirs)(next(batches), k)
        optimizer.param_groups[0]["lr"] = 0.1 * min(1, (k + 1) / 4) * min(1, 2 - 2 * k / 8)
        optimizer.zero_grad()
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5) > 0.5  # else nothing would be clipped
        optimizer.step()
        decay = min(0.9, (2 + k) / (11 + k))
        for mean, current in zip(average.parameters(), theirs.parameters(), strict=True):
            mean.data.lerp_(current.data, 1 - decay)
        assert progress.step == k and progress.loss == loss.item()
        assert equal(ours, theirs) and equal(ema.module, average)
    assert k == 7 and not equal(ours, ema.module)


def test_the_average_is_torchs_once_it_is_warm():
    """With so many updates behind it, ours is ``get_ema_multi_avg_fn``, bit for bit."""
    model = network()
    ours, theirs = EMA(model, 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    ours.updates = 1000
    theirs.n_averaged.fill_(1001)
    for _ in range(3):
        with torch.no_grad():
            model[0].weight += 1
        ours.update_parameters(model), theirs.update_parameters(model)
        assert equal(ours.module, theirs.module)
    assert not any(p.requires_grad for p in ours.module.parameters()) and not ours.module.training


def test_a_young_average_forgets_fast():
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    ema = EMA(model, 0.999)
    torch.nn.init.constant_(model.weight, 11.0)
    ema.update_parameters(model)
    assert ema.module.weight.item() == pytest.approx(11 * (1 - 2 / 11)) and ema.updates == 1
    with pytest.warns(DeprecationWarning, match="EMA.module now"):
        assert ema.model is ema.module


def test_learning_rates_rise_and_fall():
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
    recipe = Recipe(lr=2.0, decay=cosine_decay(0.1), warmup=2)
    scheduler = recipe.scheduler(optimizer, Budget(steps=10))
    rates = []
    for _ in range(10):
        rates += scheduler.get_last_lr()
        optimizer.step(), scheduler.step()
    cosine = [2 * max(0.1, 0.5 * (1 + math.cos(math.pi * k / 10))) for k in range(10)]
    assert rates == pytest.approx([cosine[0] / 2, *cosine[1:]])
    assert [linear_decay(0.5)(share) for share in (0, 0.5, 0.75, 1, 1.2)] == [1, 1, 0.5, 0, 0]


def test_a_library_schedule_is_told_after_every_step():
    ours, theirs = network(), network()
    runs = []
    for model in (ours, theirs):
        optimizer = torch.optim.AdamW(model.parameters())
        runs.append((optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=6)))
    batches = itertools.islice(by_step(batch, 1)(0), 6)
    for _ in optimize(ours, batches, loss_of(ours), runs[0][0], scheduler=runs[0][1]):
        pass
    for x in itertools.islice(by_step(batch, 1)(0), 6):
        runs[1][0].zero_grad()
        loss_of(theirs)(x, 0).backward()
        runs[1][0].step(), runs[1][1].step()
    assert equal(ours, theirs)


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    whole, parts, saved = network(), network(), []
    averages = [EMA(whole), EMA(parts)]
    for _ in fit(whole, Budget(steps=10), ema=averages[0]):
        pass
    for progress in fit(parts, Budget(steps=10), ema=averages[1], out=tmp_path):
        if progress.step == 7:
            break
    again = network()
    averages[1] = EMA(again)
    options = {"ema": averages[1], "out": tmp_path, "save": saved.append, "evaluate": lambda: {"more": 1}}
    steps = [progress.step for progress in fit(again, Budget(steps=10), **options)]
    assert steps == [6, 7, 8, 9] and saved == [9, 10]
    assert equal(whole, again) and equal(averages[0].module, averages[1].module)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [3, 6, 9, 10]
    assert log[-1]["more"] == 1 and log[-1]["lr"] == 0 and log[0]["loss"] > 0
    assert [progress.step for progress in fit(network(), Budget(steps=10), **options)] == []
    assert saved == [9, 10, 10]  # what is finished is written once more and not trained
    assert next(fit(network(), Budget(steps=10), out=tmp_path, resume=False)).step == 0


def test_minutes_count_over_all_runs(tmp_path, monkeypatch):
    now = itertools.count()  # a clock that goes on by a second with each look
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: float(next(now)))
    steps = [p.step for p in fit(network(), Budget(minutes=0.5), replace(RECIPE, log_every=1), out=tmp_path)]
    assert 3 < len(steps) < 30
    more = [p.step for p in fit(network(), Budget(minutes=1), out=tmp_path)]
    assert more[0] == steps[-1] + 1 and len(more) < 30
    with pytest.raises(ValueError, match="one of the two"):
        Budget(1, steps=1)


def test_terms_of_a_loss_are_told_by_name():
    model = network()

    def loss(batch, _):
        square = model(batch[0]).square().mean()
        return {"total": 2 * square, "square": square}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    progress = next(optimize(model, by_step(batch, 0)(0), loss, optimizer))
    assert progress.loss == pytest.approx(2 * progress.terms["square"])


def test_batches_on_a_processor_are_passed_on_as_they_are():
    one = (torch.arange(3), torch.ones(2, 2))
    assert next(training_loop.prefetch([one], torch.device("cpu"))) is one


def test_items_made_ahead_keep_their_order_and_are_few():
    made = []

    def source():
        for k in itertools.count():
            made.append(k)
            yield k

    assert list(ahead(range(50))) == list(range(50))
    items = ahead(source())
    assert [next(items) for _ in range(5)] == list(range(5))
    assert len(made) <= 5 + training_loop.PREFETCHED + 1


@pytest.mark.parametrize("error", [ValueError("no such tile"), KeyboardInterrupt()])
def test_what_the_thread_raises_arrives_in_its_place(error):
    def source():
        yield 1
        raise error

    items = ahead(source())
    assert next(items) == 1
    with pytest.raises(type(error)):
        next(items)


def test_a_forgotten_iterator_ends_its_thread():
    before = set(threading.enumerate())
    for _ in range(5):
        items = ahead(iter(int, 1))  # without end
        next(items)
        del items
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_a_training_of_impossible_length_is_refused():
    for options in ({"minutes": -1}, {"steps": -1}):
        with pytest.raises(ValueError, match="positive minutes or steps"):
            Budget(**options)
    with pytest.raises(ValueError, match=r"linear_decay\(1.0\): it begins after a share"):
        linear_decay(1.0)
    assert Budget(steps=0).share(0) == 1
    rates = Recipe(lr=1.0, decay=linear_decay(0.5), warmup=0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert rates.scheduler(optimizer, Budget(steps=4)).get_last_lr() == [1.0]


def test_what_is_kept_is_never_given_to_another_network(tmp_path):
    def kept(width, value):
        trained = torch.nn.Linear(width, 1)
        torch.nn.init.constant_(trained.weight, value)
        return training_loop.once(tmp_path / "judge.pt", torch.nn.Linear(width, 1), lambda: trained).weight

    assert kept(2, 1.0).tolist() == [[1, 1]]
    assert kept(3, 2.0).tolist() == [[2, 2, 2]]  # trained, although a file of this name was there
    assert kept(2, 3.0).tolist() == [[1, 1]]  # and that file still is
