"""How mini-crsdiff's own parts start: as the encoder and the metadata embedding of the UNet they speak to."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course.checkpoints.crsdiff import LocalAdapter, MetadataVector
from rs_course.checkpoints.prompts import CRSDIFF, DIFFUSIONSAT

INJECT_CHANNELS = (96, 64, 64)  # widths of the map features, one per level of the UNet


@torch.no_grad()
def encoder_copy(unet) -> LocalAdapter:
    """A map encoder that starts as the UNet's own encoder, and silent: what it returns is zero.

    Its norms that listen to maps have no weights of their own, so the UNet's become biases of what listens.
    """
    config, widths = unet.config, unet.config.block_out_channels
    adapter = LocalAdapter(
        model_channels=widths[0],
        channel_mult=[width / widths[0] for width in widths],
        inject_channels=INJECT_CHANNELS,
        context_dim=config.cross_attention_dim,
        num_heads=config.attention_head_dim,
        attention_levels=[k for k, kind in enumerate(config.down_block_types) if "CrossAttn" in kind],
        num_res_blocks=config.layers_per_block,
        norm_groups=config.norm_num_groups,
    )
    unknown = unet.metadata_embedding.vector(torch.zeros(1, config.num_metadata), unet.time_proj, unet.dtype)
    adapter.time_embed[0].load_state_dict(unet.time_embedding.linear_1.state_dict())
    adapter.time_embed[2].load_state_dict(unet.time_embedding.linear_2.state_dict())
    adapter.time_embed[2].bias += unknown[0]
    theirs = [[unet.conv_in]]
    for block in unet.down_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        theirs += [[r, a] if a else [r] for r, a in zip(block.resnets, attentions, strict=True)]
        theirs += [[sampler.conv] for sampler in block.downsamplers or ()]
    middle = unet.mid_block
    theirs.append([middle.resnets[0], middle.attentions[0], middle.resnets[1]])
    for ours, layers in zip([*adapter.input_blocks, adapter.middle_block], theirs, strict=True):
        for layer, source in zip(ours, layers, strict=True):
            _copy(layer, source)
    # The zero convolutions at the end make the start silent. Those behind the maps are not zero here, other
    # than in the published training: zeros behind zeros learn slowly, and minutes are all there is.
    for outlet in (*(block[0] for block in adapter.zero_convs), adapter.middle_block_out[0]):
        nn.init.zeros_(outlet.weight)
        nn.init.zeros_(outlet.bias)
    norms = [layer.fdn for block in adapter.input_blocks for layer in _norms(block)]
    listening = [norm.conv_beta for norm in norms]
    readers = [m for m in adapter.feature_extractor.modules() if isinstance(m, nn.Conv2d)]
    for convolution in [*readers, *listening]:  # as loud as what the UNet sees itself
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    for convolution in readers:
        nn.init.zeros_(convolution.bias)
    return adapter


def _norms(block: nn.Module) -> list[nn.Module]:
    """The norms of a block that listen to the maps."""
    return [
        norm for layer in block if getattr(layer, "local", False) for norm in (layer.norm_in, layer.norm_out)
    ]


def _copy(layer: nn.Module, source: nn.Module) -> None:
    """Weights of a layer of diffusers' UNet into the map encoder's."""
    state = source.state_dict()
    if hasattr(layer, "in_layers"):
        convolutions = {"in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.3": "conv2"}
        names = {**convolutions, "skip_connection": "conv_shortcut"}
        if not layer.local:
            names |= {"in_layers.0": "norm1", "out_layers.0": "norm2"}
        else:
            for ours, norm in ((layer.norm_in, source.norm1), (layer.norm_out, source.norm2)):
                ours.fdn.conv_gamma.bias.copy_(norm.weight - 1)
                ours.fdn.conv_beta.bias.copy_(norm.bias)
                nn.init.zeros_(ours.attention.value_conv.weight)  # the UNet has no attention here
                nn.init.zeros_(ours.attention.value_conv.bias)
        for ours, name in names.items():
            if hasattr(source, name) and getattr(source, name) is not None:
                layer.get_submodule(ours).load_state_dict(getattr(source, name).state_dict())
    elif hasattr(layer, "transformer_blocks"):  # theirs projects by matrices, ours by 1×1 convolutions
        shapes = {key: value.shape for key, value in layer.state_dict().items()}
        layer.load_state_dict({key: value.reshape(shapes[key]) for key, value in state.items()})
    else:
        getattr(layer, "op", layer).load_state_dict(state)


@torch.no_grad()
def metadata_like(unet) -> MetadataVector:
    """A metadata vector that starts as the UNet's own: least squares over the values that occur.

    Both models read an unknown field as the normalised 0, so the fit is of the difference to that.
    """
    vector = MetadataVector(unet.config.block_out_channels[0])
    occurring = {
        "lon": np.linspace(-180, 180, 400),
        "lat": np.linspace(-90, 90, 400),
        "gsd": np.r_[np.full(200, 10.0), 4 * 10 ** np.linspace(0, 1, 200)],  # half of the scenes have 10 m
        "cloud_cover": np.linspace(0, 1, 400),
        "year": np.arange(2016, 2025),
        "month": np.arange(1, 13),
        "day": np.arange(1, 32),
    }
    for k, (field, mlp) in enumerate(zip(CRSDIFF.ranges, vector.mlp_models, strict=True)):
        embed = unet.metadata_embedding[list(DIFFUSIONSAT.ranges).index(field)]
        values = occurring[field]
        rows = torch.tensor([[DIFFUSIONSAT(field, v), CRSDIFF(field, v)] for v in values]).float()
        rows = torch.cat([rows, torch.zeros(len(values), 2)])  # what unknown means must be met closely
        target = embed(unet.time_proj(rows[:, 0])) - embed(unet.time_proj(torch.zeros(1)))
        column = torch.zeros(len(rows), len(vector.mlp_models)).index_copy_(1, torch.tensor([k]), rows[:, 1:])
        inputs = F.pad(vector.sinusoid(column)[:, k], (0, 1), value=1.0).double()
        ridge = 1e-3 * torch.eye(inputs.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ target.double()).float()
        mlp["fc1"].weight.copy_(solved[:-1].T)
        mlp["fc1"].bias.copy_(solved[-1])
    return vector
