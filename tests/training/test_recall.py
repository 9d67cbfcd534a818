"""A network that has learnt something new learns again what it knew: who answers what, and how it begins."""

import numpy as np
import pytest
import torch

from rs_course import checkpoints
from rs_course.alignment.atoms import NAMES
from rs_course.checkpoints.diffusionsat import SatUNet
from rs_course.checkpoints.prompts import encode
from rs_course.training import diffusionsat, latent, layouts, places, recall

LEVELS = torch.randint(1000, (64,), generator=torch.Generator().manual_seed(0))


def material():
    """``(x0, eps, t, token numbers, metadata, maps, said)``; every second sentence is a class prompt."""
    x0, eps = torch.randn(2, 64, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    sentences = ["Water lies on the left." if k % 2 else "a satellite image of a river" for k in range(64)]
    said = torch.stack([places.named(sentence) for sentence in sentences])
    maps = torch.zeros(64, len(NAMES), 16, 16)
    return x0, eps, LEVELS, torch.arange(64)[:, None], torch.zeros(64, 7), maps, said


def teacher(sign):
    return lambda x, t, ids, metadata: sign * (x + (t[:, None] + ids)[..., None, None])


def test_half_of_a_batch_is_asked_where_everything_is_decided():
    x0 = torch.zeros(64, 4, 16, 16)
    _, early, _ = recall.early(x0, torch.randn_like(x0), LEVELS)
    assert torch.equal(early[:32], LEVELS[:32])
    assert early[32:].min() >= 1000 - recall.EARLY - 1 and early.max() <= 999


def test_while_it_learns_its_earlier_self_says_what_is_seen_at_little_noise():
    x0, eps, t, ids, metadata, *_ = given = material()
    xt, levels, v = recall.recalled(teacher(1))(*given)
    _, _, learnt = recall.early(x0, eps, t)
    known = levels < recall.RECALLED
    assert 0 < known.sum() < 64 and torch.equal(v[~known], learnt[~known])
    assert torch.equal(v[known], teacher(1)(xt, levels, ids, metadata)[known])


def test_of_two_teachers_each_answers_what_it_knows():
    *_, ids, metadata, _, _ = given = material()
    xt, levels, v = recall.of_both(teacher(1), teacher(-1))(*given)
    old, new = (teacher(sign)(xt, levels, ids, metadata) for sign in (1, -1))
    asked = (levels >= recall.RECALLED) & (torch.arange(64) % 2 == 1)
    assert 0 < asked.sum() < 32
    assert torch.equal(v[asked], new[asked]) and torch.equal(v[~asked], old[~asked])


def test_a_teacher_that_has_nothing_to_answer_is_not_asked():
    x0, eps, t, ids, metadata, maps, said = material()
    *_, v = recall.of_both(teacher(1), None)(x0, eps, t, ids, metadata, maps, torch.zeros_like(said))
    assert v.isfinite().all()


def test_the_graft_is_the_earlier_network_but_for_its_cross_attention():
    torch.manual_seed(0)
    earlier, learnt = (SatUNet(**diffusionsat.UNET).state_dict() for _ in range(2))
    unet = SatUNet(**diffusionsat.UNET)
    unet.load_state_dict(earlier)
    other = SatUNet(**diffusionsat.UNET)
    other.load_state_dict(learnt)
    crossed = 0
    for name, weight in recall.grafted(unet, other).state_dict().items():
        crossed += ".attn2." in name
        assert torch.equal(weight, (learnt if ".attn2." in name else earlier)[name])
    assert crossed


def test_it_is_told_classes_courses_wholes_amounts_and_anything_else(layout_scenes):
    draw, tell = np.random.default_rng(0), recall.told(layouts.Sentences(layout_scenes.tiles))
    told = [tell(draw) for _ in range(400)]
    alone = [sentence.startswith("a satellite image of") and "." not in sentence for *_, sentence in told]
    rest = 1 - recall.CLASS_ALONE - recall.COURSE - recall.WHOLE - recall.AMOUNT
    assert abs(np.mean(alone) - recall.CLASS_ALONE - rest * layouts.CLASS_ALONE) < 0.08
    courses = [layouts.kind_of(sentence) == "course" for *_, sentence in told]
    assert abs(np.mean(courses) - recall.COURSE) < 0.1
    assert any(" nearly all of the tile." in sentence for *_, sentence in told)
    assert all(0 <= i < 40 and 0 <= view < latent.VIEWS for i, view, _ in told)


def test_a_network_is_its_own_teacher():
    shipped = checkpoints.load("mini-diffusionsat", dtype=torch.float32)
    network = diffusionsat.Denoiser(SatUNet(**diffusionsat.UNET), shipped.text_encoder)
    teacher = latent.as_it_was(network, "mini-diffusionsat")
    assert not any(p.requires_grad for p in teacher.parameters())
    x, t, metadata = torch.randn(1, 4, 16, 16), torch.tensor([300]), torch.zeros(1, 7)
    sentence = ["There is one pond, in the top left."]
    states = encode(shipped.tokenizer, shipped.text_encoder, sentence)
    expected = shipped.unet(x, t, states, metadata=metadata).sample
    torch.testing.assert_close(
        teacher(x, t, latent.tokens(shipped.tokenizer)(sentence), metadata), expected, atol=1e-4, rtol=1e-4
    )


def test_how_long_it_learns_is_asked_before_anything_is_rendered(tmp_path):
    with pytest.raises(ValueError, match="give one of the two"):
        diffusionsat.train(tmp_path, minutes=None, start="mini-diffusionsat")
