"""ConvLoRA: low-rank updates of a frozen convolution, as the DSCF repository (and Microsoft's loralib)
builds them.

    ΔW = reshape(B @ A, (O, I, k, k)) · alpha / r,    A: (r·k, I·k),  B: (O·k, r·k)

The reshape re-reads the (O·k, I·k) product row by row. It is no permutation into kernel positions, so
neighbouring rows of the product become neighbouring *input channels* of the kernel; only its rank, at most
r·k, has a meaning. Weights made under this convention are wrong under any other.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import nn

# The active configuration of the DSCF repository: rank and alpha by layer-name suffix; conv_1 and conv_cat
# have none.
DSCF_RANKS = {
    "conv_2.eval_conv": (8, 16.0),
    "upsampler.0": (8, 16.0),
    **{f"block_{i}.c{j}_r.eval_conv": (2, 4.0) for i in range(1, 7) for j in range(1, 4)},
}


def delta_weight(a: torch.Tensor, b: torch.Tensor, shape: Iterable[int], *, alpha: float) -> torch.Tensor:
    """The update ΔW of a kernel.

    Args:
        a: ``[r·k, I·k]``.
        b: ``[O·k, r·k]``.
        shape: Kernel shape (O, I, k, k).
        alpha: Scale; the update is multiplied by alpha / r.

    Returns:
        ``[O, I, k, k]``.

    Raises:
        ValueError: The factors do not fit the kernel.
    """
    out_channels, in_channels, k, k2 = shape = tuple(shape)
    rank = a.shape[0] // k
    fits = a.shape == (rank * k, in_channels * k) and b.shape == (out_channels * k, rank * k) and rank > 0
    if not fits or k != k2:
        raise ValueError(
            f"factors A {list(a.shape)} and B {list(b.shape)} do not fit a kernel {list(shape)}: "
            f"A is [r·{k}, {in_channels * k}] and B is [{out_channels * k}, r·{k}]."
        )
    return (b @ a).reshape(shape) * (alpha / rank)


class ConvLoRA(nn.Conv2d):
    """A convolution with a frozen kernel and a trainable low-rank update; starts equal to the plain
    convolution.

    Args:
        conv: The convolution to adapt; its weight and bias are taken over, not copied.
        rank: r of the factorisation; the update has rank at most r·k.
        alpha: The update is scaled by alpha / rank.
        generator: Source of A's random values (B starts at zero).
    """

    def __init__(self, conv: nn.Conv2d, rank: int, alpha: float, *, generator: torch.Generator | None = None):
        if rank < 1:
            raise ValueError(
                f"rank={rank}: ConvLoRA needs a rank of at least 1; leave the layer plain for none."
            )
        k, k2 = conv.kernel_size
        if k != k2 or conv.groups != 1:
            raise ValueError("ConvLoRA is defined for square kernels without groups.")
        super().__init__(conv.in_channels, conv.out_channels, k, **_form(conv), device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.rank, self.alpha = rank, float(alpha)
        a = torch.empty(rank * k, conv.in_channels * k)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.Parameter(a.to(conv.weight))
        self.lora_B = nn.Parameter(conv.weight.new_zeros(conv.out_channels * k, rank * k))
        self.weight.requires_grad_(False)

    def delta(self) -> torch.Tensor:
        """ΔW, ``[O, I, k, k]``."""
        return delta_weight(self.lora_A, self.lora_B, self.weight.shape, alpha=self.alpha)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight + self.delta(), self.bias, self.stride, self.padding, self.dilation)

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """A plain convolution with the kernel W + ΔW; it shares nothing with this layer."""
        conv = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, **_form(self)).to(self.weight)
        conv.weight.copy_(self.weight + self.delta())
        if self.bias is not None:
            conv.bias.copy_(self.bias)
        return conv


def _form(conv: nn.Conv2d) -> dict:
    """What two convolutions of one form have in common besides their sizes."""
    form = {name: getattr(conv, name) for name in ("stride", "padding", "dilation")}
    return form | {"bias": conv.bias is not None}


@torch.no_grad()
def unmerged(conv: nn.Conv2d, a: torch.Tensor, b: torch.Tensor, *, alpha: float) -> ConvLoRA:
    """The inverse of :meth:`ConvLoRA.merged`: from the kernel W + ΔW and the factors back to the layer."""
    rank = a.shape[0] // conv.kernel_size[0]
    plain = copy.deepcopy(conv)
    plain.weight -= delta_weight(a, b, conv.weight.shape, alpha=alpha)
    layer = ConvLoRA(plain, rank, alpha)
    layer.lora_A.copy_(a)
    layer.lora_B.copy_(b)
    return layer


def add(
    network: nn.Module, ranks: Mapping[str, tuple[int, float]] = DSCF_RANKS, *,
    generator: torch.Generator | None = None,
) -> nn.Module:  # fmt: skip
    """Replace the named convolutions by :class:`ConvLoRA` layers, in place, and freeze everything else.

    Args:
        network: For the default ``ranks``, a merged :class:`~rs_course.superres.networks.SPAN`.
        ranks: Layer name → (rank, alpha).
        generator: Source of the random factors A.

    Raises:
        ValueError: A name is no convolution of the network.
    """
    layers = dict(network.named_modules())
    for name, (rank, alpha) in ranks.items():
        if type(layers.get(name)) is not nn.Conv2d:
            raise ValueError(f"{name!r} is no plain convolution of {type(network).__name__}.")
        parent, _, child = name.rpartition(".")
        setattr(layers[parent], child, ConvLoRA(layers[name], rank, alpha, generator=generator))
    mark_trainable(network)
    return network


def mark_trainable(network: nn.Module, *, bias: str = "none") -> list[str]:
    """Train the factors only.

    Args:
        network: A network with :class:`ConvLoRA` layers.
        bias: ``"none"`` freezes every bias, ``"lora_only"`` trains those of adapted layers, ``"all"``
            trains all.

    Returns:
        Names of the trainable parameters.

    Raises:
        ValueError: Unknown choice of ``bias``.
    """
    if bias not in ("none", "lora_only", "all"):
        raise ValueError(f"bias={bias!r}: choose 'none', 'lora_only' or 'all'.")
    adapted = {f"{name}.bias" for name, m in network.named_modules() if isinstance(m, ConvLoRA)}
    for name, parameter in network.named_parameters():
        is_bias = name.endswith("bias") and (bias == "all" or (bias == "lora_only" and name in adapted))
        parameter.requires_grad_("lora_" in name or is_bias)
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def merge(network: nn.Module) -> nn.Module:
    """Fold every update into its kernel, in place: plain convolutions and the official key names remain."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvLoRA):
                setattr(parent, name, child.merged())
    return network


def unmerge(network: nn.Module, factors: Mapping[str, torch.Tensor]) -> nn.Module:
    """The inverse of :func:`merge`, in place: the network that ``factors`` were trained on, with them
    beside it.

    Args:
        network: Merged.
        factors: ``{layer}.lora_A`` and ``{layer}.lora_B`` of every layer in :data:`DSCF_RANKS`.

    Raises:
        ValueError: A layer's factors are missing or do not fit.
    """
    layers = dict(network.named_modules())
    for name, (_, alpha) in DSCF_RANKS.items():
        if f"{name}.lora_A" not in factors or f"{name}.lora_B" not in factors:
            raise ValueError(
                f"the factors of {name!r} are missing: they are {name}.lora_A and {name}.lora_B."
            )
        parent, _, child = name.rpartition(".")
        a, b = factors[f"{name}.lora_A"], factors[f"{name}.lora_B"]
        setattr(layers[parent], child, unmerged(layers[name], a, b, alpha=alpha))
    mark_trainable(network)
    return network


def factors_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """The factors of an adapted network by name, to be kept beside the merged weights."""
    return {name: p.detach().contiguous() for name, p in network.named_parameters() if "lora_" in name}
