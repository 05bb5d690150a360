"""A real server and a real worker of the tiny model, in separate processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.running_server import Child, child_server

WORKER = "from service.worker.process import main; main()"


@asynccontextmanager
async def tiny_server(data_dir: Path, model: Path, *, prelude: str = "", **settings: str) -> AsyncIterator[Child]:
    """Ready; `settings` are environment variables without their prefix."""
    environ = {"MODELS": str(model), "DEFAULT_MODEL": "tiny", "WORKER_CAPACITY_STEPS_PER_S": "400", **settings}
    environ = {f"CAKE_{name}": value for name, value in environ.items()}
    async with child_server(data_dir, worker=WORKER, environ=environ, prelude=prelude) as child:
        await child.ready("/readyz")
        yield child
