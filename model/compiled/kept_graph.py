"""A compiled graph as stored on disk: what it was compiled from and for, and its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from io import BytesIO
from pathlib import Path

import openvino
from openvino import Core

from model.compiled.graph import Memory

# Everything that determines the compiled graph: after any of it changes, an older graph must not be found.
_BUILDERS = ("graph.py", "layers.py", "ops.py", "precision.py")


def graph_key(core: Core, network_digest: str, streams: int, options: Mapping[str, object]) -> str:
    """A key that differs whenever the compiled graph may: it covers network, batch size, options, code, OpenVINO
    and processor.
    """
    parts = [_machine(core), network_digest, streams, sorted(options.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pack(memories: tuple[Memory, ...], exported: BytesIO) -> bytes:
    """One line of JSON about the graph's inputs and outputs, then the graph."""
    return json.dumps([asdict(memory) for memory in memories]).encode() + b"\n" + exported.getvalue()


def unpack(kept: bytes) -> tuple[tuple[Memory, ...], BytesIO]:
    """Raises ValueError if it was not made by `pack`."""
    head, _, graph = kept.partition(b"\n")
    memories = tuple(Memory(tuple(one["shape"]), one["is_map"], one["depth"]) for one in json.loads(head))
    return memories, BytesIO(graph)


@cache
def _machine(core: Core) -> list[str]:
    """OpenVINO, this code and the processor. Processors with the same name may have different features."""
    code = b"".join(Path(__file__).with_name(name).read_bytes() for name in _BUILDERS)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    name = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
    return [openvino.get_version(), hashlib.sha256(code).hexdigest(), name, features, *capabilities]
