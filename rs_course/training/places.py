"""What lies where, asked of a text tower and of a UNet while they learn.

A denoiser is told "trees on the left" and is only asked for the noise. That teaches it nothing about "left".
Three reasons can be measured: the tower's states of opposite sentences are nearly the same; the queries of
the UNet's attention do not know where in the tile they ask from; and what could be gained by heeding the word
is lost in the noise of the gradient. So both are asked more, by linear heads that are thrown away afterwards;
the published layouts stay as they are:

    where    which part of the tile does this position lie in?    (before attention, of the hidden states)
    named    what does the sentence say lies here?                (after attention)
    cover    what lies here, in truth?                            (after attention)
    text     what does the sentence say lies in each field?       (of the tower's states)

"cover" is the alignment of hidden states with those of another network (Yu et al. 2024, arXiv 2410.06940),
with a map in that network's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import training_loop
from rs_course.alignment.atoms import NAMES
from rs_course.checkpoints.loading import read_device
from rs_course.simulated_earth.captions import MONTHS
from rs_course.training_loop import Budget, Recipe, by_step, linear_decay

from .layouts import Sentences

# What captions say lies somewhere, and the words for it.
NAMED = {
    "permanent crops": ("orchards and vineyards",), "bare ground": ("bare ground",),
    "paved ground": ("paved ground",), "water": ("water",), "trees": ("trees",), "grass": ("grass",),
    "cropland": ("cropland",), "scrub": ("scrub",), "buildings": ("buildings",), "roads": ("roads",),
    "gardens": ("gardens",), "river": ("river",), "motorway": ("motorway", "highway"),
    "village": ("villages", "village"), "pond": ("ponds", "pond"), "bridge": ("bridges", "bridge"),
    "clouds": ("clouds",),
}  # fmt: skip
# What they say about the whole tile, which so lies in every field. Without it a tower that is taught places
# forgets seasons: after such a lesson 42 % of opposite seasons were drawn right, before it 78 %.
WHOLE = {
    **{month: (f"in {month}",) for month in MONTHS},
    **{season: (f"in {season}", f"it is {season}") for season in ("spring", "summer", "autumn", "winter")},
    "snow": ("snow lies", "white with snow"), "clear sky": ("sky is clear", "no cloud"),
    "some clouds": ("clouds cover about",), "overcast": ("clouds hide",),
    **{amount: (f"{amount} of the tile",) for amount in ("nearly all", "most", "about half")},
    **{amount: (f"{amount} of the tile",) for amount in ("about a third", "a part")},
}  # fmt: skip
STATEMENTS = (*NAMED, *WHOLE)
_NUMBER = {word: k for k, words in enumerate(NAMED.values()) for word in words}
_ROWS, _COLUMNS = {"top": 0, "bottom": 2}, {"left": 0, "right": 2}
_WHOLE = [re.compile("|".join(words), re.IGNORECASE) for words in WHOLE.values()]
_FILLS = re.compile(rf"^({'|'.join(_NUMBER)}) \w+(?: up)? (?:nearly all|most) of the tile", re.IGNORECASE)
_FIELD = r"(?:(?:top|bottom) )?(?:left|right)|top|bottom|centre|middle"
_FOUND = re.compile(
    rf"\b(?:(?P<what>{'|'.join(sorted(_NUMBER, key=len, reverse=True))})"
    rf"|(?:in|on|at|through) the (?P<field>{_FIELD})"
    r"|from the (?P<start>\w+) edge to the (?P<end>\w+) edge)\b",
    re.IGNORECASE,
)
PARTS = 4  # rows and columns of the parts that a position is to be told apart by
RARE = 5.0  # weight of what a sentence names, against what it does not
# Of the questions, beside the denoiser's own loss, which is near 1.
WEIGHTS = {"where": 0.5, "named": 1.0, "cover": 0.3, "text": 2.0}
LESSON = Recipe(lr=5e-4, decay=linear_decay(0.4), warmup=100, log_every=100)
LESSON_STEPS = 800  # five minutes of a processor core


def named(sentence: str) -> torch.Tensor:
    """What a caption says lies in which of nine fields of the tile: 0 or 1, ``[len(STATEMENTS), 3, 3]``.

    A place belongs to the last thing that was named before it: "trees on the left and water at the top".
    """
    said, what = torch.zeros(len(STATEMENTS), 3, 3), None
    for k, pattern in enumerate(_WHOLE, len(NAMED)):
        said[k] = float(pattern.search(sentence) is not None)
    if fills := _FILLS.search(sentence):
        said[_NUMBER[fills[1].lower()]] = 1
    for found in _FOUND.finditer(sentence):
        if found["what"]:
            what = _NUMBER[found["what"].lower()]
        elif what is not None:
            for place in filter(None, (found["field"], found["start"], found["end"])):
                words = place.lower().split()
                row = next((_ROWS[word] for word in words if word in _ROWS), 1)
                column = next((_COLUMNS[word] for word in words if word in _COLUMNS), 1)
                said[what, row, column] = 1
    return said


def on_grid(fields: torch.Tensor, side: int) -> torch.Tensor:
    """Fields ``[N, C, 3, 3]`` on a grid ``[N, C, side, side]``; a position on a border has part of each."""
    fine = fields.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return F.avg_pool2d(fine, fields.shape[-1])


class Places(nn.Module):
    """Linear questions to the hidden states of a UNet.

    Args:
        unet: With cross-attention in its middle and on both sides of it; it is watched, not changed.
    """

    def __init__(self, unet: nn.Module):
        super().__init__()
        blocks = [b for b in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) if hasattr(b, "attentions")]
        # Attention sees what its residual block made; the middle has one more of these, which comes after.
        before = [block.resnets[k] for block in blocks for k in range(len(block.attentions))]
        after = [block.attentions[-1] for block in blocks]
        self._watched = (before, after)  # in a tuple, because they are not this module's own
        count = len(STATEMENTS) + len(NAMES)
        self.where = nn.ModuleList(_question(m.out_channels, PARTS**2) for m in before)
        self.what = nn.ModuleList(_question(m.out_channels, count) for m in after)

    def asked(self, answer: Callable[[], torch.Tensor], maps: torch.Tensor, said: torch.Tensor):
        """What ``answer()`` returns, a call of the UNet, and the loss of each question.

        Args:
            answer: Calls the UNet.
            maps: Share of each land cover, ``[N, 7, h, w]`` in [0, 1].
            said: From :func:`named`, ``[N, len(STATEMENTS), 3, 3]``.
        """
        seen: dict[nn.Module, torch.Tensor] = {}

        def keep(module, _, output):
            seen[module] = output[0] if isinstance(output, tuple) else output

        before, after = self._watched
        hooks = [module.register_forward_hook(keep) for module in (*before, *after)]
        try:
            answered = answer()
        finally:
            for hook in hooks:
                hook.remove()
        sides = {seen[m].shape[-1] for m in after}
        on_side = {side: (on_grid(said, side), F.adaptive_avg_pool2d(maps, side)) for side in sides}
        where = [_where(ask(seen[m]).float()) for ask, m in zip(self.where, before, strict=True)]
        what = [
            _what(ask(seen[m]).float(), *on_side[seen[m].shape[-1]])
            for ask, m in zip(self.what, after, strict=True)
        ]
        losses = {"where": where, "named": [a for a, _ in what], "cover": [b for _, b in what]}
        return answered, {name: WEIGHTS[name] * torch.stack(each).mean() for name, each in losses.items()}


def _question(channels: int, answers: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(1, channels), nn.Conv2d(channels, answers, 1))


def _where(scores: torch.Tensor) -> torch.Tensor:
    side = scores.shape[-1]
    part = torch.arange(side, device=scores.device) * PARTS // side
    return F.cross_entropy(scores, (PARTS * part[:, None] + part).expand(len(scores), side, side))


def _what(scores: torch.Tensor, said: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    of_names, of_cover = scores.split((len(STATEMENTS), len(NAMES)), dim=1)
    return _binary(of_names, said), F.cross_entropy(of_cover, maps)


def _binary(scores: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(scores, said, pos_weight=scores.new_tensor(RARE))


class Fields(nn.Module):
    """States of a sentence ``[N, L, D]`` to scores of what it names in nine fields ``[N, C, 3, 3]``.

    Nine learned queries attend to the states, as the positions of a UNet will do.
    """

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.queries = nn.Parameter(0.5 * torch.randn(9, width))
        self.enter, self.between, self.leave = (nn.LayerNorm(width) for _ in range(3))
        self.first, self.second = (nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2))
        self.score = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, len(STATEMENTS))
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states = self.enter(states)
        x = self.queries.expand(len(states), -1, -1)
        x = x + self.first(x, states, states, need_weights=False)[0]
        x = x + self.second(self.between(x), states, states, need_weights=False)[0]
        return self.score(self.leave(x)).transpose(1, 2).unflatten(2, (3, 3))

    def loss(self, states: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
        """How wrong the scores are, weighted; ``said`` is from :func:`named`."""
        return WEIGHTS["text"] * _binary(self(states).float(), said)


def teach(
    texts: nn.Module, fields: Fields, sentences: Sentences, words: Callable, *, out: Path,
    steps: int = LESSON_STEPS, seed: int = 0, batch_size: int = 64, resume: bool = True,
) -> None:  # fmt: skip
    """Let a text tower learn to say what a sentence places where, from the sentence alone.

    Args:
        texts: Token numbers to states; trained in place.
        fields: The head that answers; trained with it.
        sentences: What is said; four of five are about a place.
        words: Sentences to token numbers.
        out: Folder of the state, so that an interrupted lesson goes on.
        steps, seed, batch_size, resume: As everywhere.
    """
    both = nn.ModuleDict({"texts": texts, "fields": fields}).to(read_device(None))

    def batch(draw: np.random.Generator):
        kinds = draw.random(batch_size) < 0.8
        said = [(sentences.placed if kind else sentences.any)(draw)[2] for kind in kinds]
        return words(said), torch.stack([named(sentence) for sentence in said])

    def loss(made, step):
        ids, said = made
        return fields.loss(texts(ids), said)

    made, budget = by_step(batch, seed), Budget(steps=steps)
    training_loop.run(training_loop.fit(both, made, loss, LESSON, budget, out=out, resume=resume))
