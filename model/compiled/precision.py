"""The precision in which the served graph computes: float32 or bfloat16, and int8 for the largest weights."""

from __future__ import annotations

import numpy as np
import openvino.opset13 as op
from openvino import Core, Node, Type

from model.compiled.layers import Weights
from model.config import Precision

INT8_FROM_WEIGHTS = 500_000
"""A linear layer with at least this many weights keeps them as int8 if the graph computes in bfloat16."""


def choose_map_type(precision: Precision, core: Core) -> Type:
    """The type of the maps between steps, and of most of the computation: bfloat16 if it is allowed and this processor
    supports it, otherwise float32.
    """
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Type.bf16 if precision == "auto" and "BF16" in capabilities else Type.f32


def uses_int8(weight_OC: Weights, map_type: Type) -> bool:
    """Whether the graph keeps these weights as int8. A large layer takes as long as reading its weights does, and int8
    is accurate enough next to bfloat16.
    """
    return bool(map_type == Type.bf16) and weight_OC.size >= INT8_FROM_WEIGHTS


def int8_constant(weight_OC: Weights) -> Node:
    """Weights as int8 with one scale for each output; OpenVINO widens them as it reads them."""
    scale_O1 = np.maximum(np.abs(weight_OC).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    rounded = op.constant(np.round(weight_OC / scale_O1).astype(np.int8))
    return op.multiply(op.convert(rounded, Type.f32), op.constant(scale_O1))
