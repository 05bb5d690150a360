"""Where training runs: one-thread processes on a CPU, one process with loader workers and mixed precision on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.cpus import allowed_cpus

_MOST_LOADERS = 16


@dataclass(frozen=True)
class Placement:
    """Where a stage trains."""

    device: str
    processes: int
    loaders: int
    """Processes that prepare batches for each training process; 0: it prepares them itself."""
    mixed_precision: bool
    """bfloat16 where autocast considers it safe. It halves the speed on the processors where this was measured."""

    @classmethod
    def detect(cls, processes: int | None = None) -> Placement:
        """A GPU if torch sees one, else `processes` processes on the CPU: by default one for each allowed processor."""
        cores = allowed_cpus()
        if torch.cuda.is_available():
            return cls("cuda", 1, min(cores, _MOST_LOADERS), mixed_precision=True)
        return cls("cpu", processes or cores, 0, mixed_precision=False)

    def alone(self) -> Placement:
        """The same with one process, for work that is too small to share."""
        return Placement(self.device, 1, self.loaders, self.mixed_precision)
