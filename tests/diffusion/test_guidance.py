import torch

from rs_course.diffusion.guidance import drop_condition, guide, guided

NULL = 5


def model(xt, t, labels):
    return xt + 10 * labels[:, None] + t[:, None]


def test_scale_counts_as_in_diffusers():
    cond, uncond = torch.tensor([3.0]), torch.tensor([1.0])
    assert guide(cond, uncond, 0) == uncond
    assert guide(cond, uncond, 1) == cond
    w = 6.5
    assert torch.equal(guide(cond, uncond, 1 + w), (1 + w) * cond - w * uncond)


def test_one_call_asks_for_both():
    calls = []

    def counted(xt, t, labels):
        calls.append(len(xt))
        return model(xt, t, labels)

    x, t, labels = torch.zeros(2, 1), torch.full((2,), 7), torch.tensor([1, 2])
    got = guided(counted, labels, NULL, 3.0)(x, t)
    want = model(x, t, torch.tensor([NULL, NULL])) * (1 - 3) + 3 * model(x, t, labels)
    assert torch.equal(got, want)
    assert torch.equal(guided(counted, labels, NULL, 1.0)(x, t), model(x, t, labels))
    assert torch.equal(guided(counted, labels, NULL, 3.0, interval=(10, 20))(x, t), model(x, t, labels))
    assert torch.equal(guided(counted, labels, NULL, 3.0, interval=(5, 20))(x, t), want)
    assert calls == [4, 2, 2, 4]


def test_vector_conditions_and_dropping():
    condition, null = torch.arange(12.0).reshape(3, 4), torch.zeros(4)
    uniform = torch.tensor([0.05, 0.5, 0.09])
    dropped = drop_condition(condition, null, 0.1, uniform)
    assert torch.equal(dropped[1], condition[1])
    assert not dropped[[0, 2]].any()
    labels = drop_condition(torch.tensor([1, 2, 3]), NULL, 0.1, uniform)
    assert labels.tolist() == [NULL, 2, NULL]
