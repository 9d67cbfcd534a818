"""A network that has learnt something new learns again what it knew before.

While ``mini-diffusionsat`` learnt what words place where, it forgot what nobody asked about: scale, highways,
rivers. Its earlier self still knows that, and each of the two answers for its half:

    the earlier one    classes, metadata and fine detail: every tile of which the class alone is said, or
                       nothing; and any tile at little noise
    the one that       what sentences say lies where: all others, whose layout is being decided
    has learnt

Their answers hold no noise, as those of data do, so that small differences count. The network begins as the
earlier one with the text tower and the cross-attention of the other: that keeps most of what the earlier one
knew, and the words find their places again within some hundred steps. To begin as the one that has learnt, or
as a mean of both, is worse: what was forgotten comes back slowly, and between the two lies neither.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rs_course.datasets import class_prompt
from rs_course.diffusion.process import add_noise, target
from rs_course.simulated_earth import LANDCOVER
from rs_course.simulated_earth.captions import composition
from rs_course.training_loop import Recipe, linear_decay

from . import latent
from .layouts import Sentences, kind_of
from .sides import turned

RECALLED = 600  # noise levels, from none on, at which detail is drawn
EARLY = 300  # noise levels next to pure noise, at which it is decided what lies where
COARSE = (4, 1.0)  # see ``rs_course.diffusion.process.train``
RECIPE = Recipe(lr=6e-4, decay=linear_decay(0.3), log_every=50)
# Share of tiles of which the class alone is said, the course of a river or road, one sentence about the whole
# tile, or how much something covers; of the others anything. Courses come often, because they change v by a
# twentieth of what sides change. How much is covered need not be true: it is the teacher who answers.
CLASS_ALONE, COURSE, WHOLE, AMOUNT = 0.3, 0.25, 0.1, 0.1
AMOUNTS = (99, 70, 50, 33, 15)  # percent, one for each wording

Targets = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def early(x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor, *condition):
    """Half of a batch at any noise level, the other half at the :data:`EARLY` ones, mostly near the last."""
    last, half = latent.schedule(), len(x0) // 2
    late = len(last) - 1 - (EARLY * (t[half:] / len(last)).square()).long()
    t = torch.cat([t[:half], late])
    return add_noise(x0, eps, t, last), t, target(x0, eps, t, last, "v")


def recalled(earlier: nn.Module) -> Targets:
    """As :func:`early`, but at :data:`RECALLED` levels the answer is that of the earlier network.

    Not in the lessons: what must answer as before learns to ignore the sentence.
    """

    def targets(x0, eps, t, ids, metadata, *_):
        xt, t, v = early(x0, eps, t)
        answered(earlier, v, t < RECALLED, xt, t, ids, metadata)
        return xt, t, v

    return targets


def of_both(earlier: nn.Module, learnt: nn.Module) -> Targets:
    """Answers of the earlier network and of the one that has learnt, each for what it knows."""

    def targets(x0, eps, t, ids, metadata, maps, said):
        xt, t, v = early(x0, eps, t)
        known = (t < RECALLED) | ~said.flatten(1).any(1).to(t.device)
        answered(earlier, v, known, xt, t, ids, metadata)
        answered(learnt, v, ~known, xt, t, ids, metadata)
        return xt, t, v

    return targets


@torch.no_grad()
def answered(network: nn.Module, v: torch.Tensor, rows: torch.Tensor, xt, t, ids, metadata) -> None:
    """Write the answers of a network into the rows of ``v`` that a mask ``[N]`` names, where it names any."""
    rows = rows.nonzero().flatten()
    if len(rows):  # small batches may hold nothing for one of two networks, and none answers an empty batch
        v[rows] = network(xt[rows], t[rows].to(xt.device), ids[rows], metadata[rows]).to(v)


def grafted(earlier: nn.Module, learnt: nn.Module) -> nn.Module:
    """The earlier UNet, changed in place, with the cross-attention of the one that has learnt."""
    cross = {name: weight for name, weight in learnt.state_dict().items() if ".attn2." in name}
    earlier.load_state_dict(cross, strict=False)
    return earlier


def told(sentences: Sentences) -> Callable[[np.random.Generator], tuple[int, int, str]]:
    """What is said about which view of which scene, as :meth:`Sentences.mixed` says it."""
    tiles, covers, courses = sentences.tiles, list(LANDCOVER), sentences.by_kind["course"]

    def tell(draw: np.random.Generator):
        i, view = int(draw.integers(len(tiles.labels))), int(draw.integers(latent.VIEWS))
        share = draw.random()
        if share < CLASS_ALONE:
            return i, view, class_prompt(int(tiles.labels[i]))
        if share < CLASS_ALONE + COURSE and courses:
            i, sentence = courses[draw.integers(len(courses))]
            return i, view, turned(sentence, view)
        if share < CLASS_ALONE + COURSE + WHOLE:
            whole = [caption for caption in tiles.captions[i] if kind_of(caption) is None]
            return i, view, turned(whole[draw.integers(len(whole))], view)
        if share < CLASS_ALONE + COURSE + WHOLE + AMOUNT:
            facts = {"shares": {str(draw.choice(covers)): int(draw.choice(AMOUNTS))}, "positions": {}}
            return i, view, composition(facts, lambda *words: words[draw.integers(len(words))])
        return sentences.mixed(draw)

    return tell
