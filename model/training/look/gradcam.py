"""Grad-CAM (Selvaraju et al., ICCV 2017) of CAKE's branches.

What is explained is the logit of one label at one frame, as a function of the last map of each branch: the trunk's map
as the static feature head sees it, the motion adapter's output, the flow teacher's map. CAKE's two branches are
explained separately, although one is computed from the other. The network is causal and has a state, so the logit also
depends on earlier maps; but those belong to earlier images, in which the person stood elsewhere. Therefore only the map
of the frame itself is returned: it shows what in this image, given the past, supports the label.

Shapes: T frames, C channels, H x W cells of a map, S pixels of the network's input, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn

from model.metrics import Floats
from model.network.cake import Cake, time_major
from model.training.stages.single_stream import SingleStream


def cake_evidence(model: Cake, x_TCSS: Tensor, column: int, size: int) -> dict[str, Floats]:
    """Evidence for the label in `column` at the last frame, by branch: "static" and "motion".

    Each is (size, size), in logits of a cell of the map, without evidence against the label.
    """
    with torch.no_grad():
        *_, static_TCHW = model.trunk.sequence_maps(time_major(x_TCSS[None]), streams=1)
        motion_TCHW = model.motion.sequence(static_TCHW, streams=1)

    def last_logits(static_TCHW: Tensor, motion_TCHW: Tensor) -> Tensor:
        static_TD = model.static_head.sequence(static_TCHW, streams=1)
        motion_TD = model.motion_head.sequence(motion_TCHW, streams=1)
        features_1TF = torch.cat([static_TD, motion_TD], dim=1)[None]
        return model.head.logits(features_1TF, model.head.fresh(1))[0][:, -1]

    static_HW, motion_HW = _last_maps(last_logits, (static_TCHW, motion_TCHW), column)
    return {"static": _enlarge(static_HW, size), "motion": _enlarge(motion_HW, size)}


def single_stream_evidence(network: SingleStream, x_TCSS: Tensor, column: int, size: int) -> Floats:
    """The same for a network of one stream."""
    with torch.no_grad():
        *_, map_TCHW = network.trunk.sequence_maps(time_major(x_TCSS[None]), streams=1)

    def last_logits(map_TCHW: Tensor) -> Tensor:
        return network.logits_of_map(map_TCHW, streams=1)[:, -1]

    (map_HW,) = _last_maps(last_logits, (map_TCHW,), column)
    return _enlarge(map_HW, size)


def _last_maps(last_logits: Callable[..., Tensor], maps_TCHW: Sequence[Tensor], column: int) -> list[Tensor]:
    """Grad-CAM (H, W) of the last frame in each map.

    `last_logits` (1, K) takes the maps detached from each other, so that a map from which another was computed explains
    only its own direct use.
    """
    network = _FromMaps(last_logits, len(maps_TCHW))
    inputs = tuple(map_TCHW.detach().requires_grad_() for map_TCHW in maps_TCHW)
    return [
        LayerGradCam(network, view).attribute(inputs, target=column, relu_attributions=True)[-1, 0].detach()
        for view in network.views
    ]


class _FromMaps(nn.Module):
    """Passes each map through a layer that captum can hook."""

    def __init__(self, last_logits: Callable[..., Tensor], maps: int) -> None:
        super().__init__()
        self.last_logits = last_logits
        self.views = nn.ModuleList(nn.Identity() for _ in range(maps))

    def forward(self, *maps_TCHW: Tensor) -> Tensor:
        return self.last_logits(*(view(each) for view, each in zip(self.views, maps_TCHW, strict=True)))


def _enlarge(map_HW: Tensor, size: int) -> Floats:
    # Bicubic interpolation has no creases along the middles of the cells, but undershoots zero next to them.
    enlarged = LayerAttribution.interpolate(map_HW[None, None], (size, size), "bicubic")[0, 0].clamp(min=0)
    enlarged_SS: Floats = enlarged.numpy()
    return enlarged_SS
