"""Runs the whole service on one core, and the measuring client on the others."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from service.bench.live import MODEL
from service.bench.server import RunningServer, running_server


@asynccontextmanager
async def served_on_one_core(
    data_dir: Path, checkpoint: Path, environ: Mapping[str, str]
) -> AsyncIterator[RunningServer]:
    """Run `cake serve` with one worker of this checkpoint, under the name `MODEL`. Creates `data_dir`."""
    await asyncio.to_thread(data_dir.mkdir)
    cores = os.sched_getaffinity(0)
    served = min(cores)
    os.sched_setaffinity(0, cores - {served} or cores)
    models = {"CAKE_MODELS": str(checkpoint), "CAKE_DEFAULT_MODEL": MODEL, "CAKE_WORKERS": "1"}
    try:
        async with running_server(data_dir, {**models, **environ}, core=served) as server:
            yield server
    finally:
        os.sched_setaffinity(0, cores)
