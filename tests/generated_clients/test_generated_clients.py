"""Clients generated from the OpenAPI description can upload, push and read. `make generated-clients` runs this."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.running_server import Child
from tests.support.tiny_server import tiny_server

OPENAPI_PYTHON_CLIENT = """
import sys
from pathlib import Path

from client import Client
from client.api.events import get_events
from client.api.sessions import create_session, get_scores, get_session, list_sessions, push_stream, upload_session
from client.models import (
    SessionRequest, SourceRequest, UploadSessionBody, UploadOptions, UploadOptionsPace, ProblemBody
)
from client.types import File

url, video, stream = sys.argv[1:]
client = Client(base_url=url, raise_on_unexpected_status=True)

with open(video, "rb") as file:
    body = UploadSessionBody(
        file=File(payload=file, file_name="v.mp4"), session=UploadOptions(pace=UploadOptionsPace.FAST, name="upload")
    )
    uploaded = upload_session.sync(client=client, body=body)
assert (uploaded.source.kind, uploaded.name) == ("upload", "upload"), uploaded

pushed = create_session.sync(client=client, body=SessionRequest(source=SourceRequest(push=True), name="push"))
with open(stream, "rb") as file:
    push_stream.sync(pushed.id, client=client, body=File(payload=file))

for session in (uploaded, pushed):
    events, after = [], None
    while not any(e.type_ == "session.state" and e.state == "completed" for e in events):
        page = get_events.sync(session.id, client=client, wait_s=5, **({"after": after} if after else {}))
        events, after = events + page.events, page.next_ or after
    assert get_session.sync(session.id, client=client).state == "completed"
    assert get_scores.sync(session.id, client=client).scores
assert {s.name for s in list_sessions.sync(client=client).sessions} == {"upload", "push"}
assert isinstance(get_session.sync("none", client=client), ProblemBody)
"""

OPENAPI_GENERATOR = """
import sys
from pathlib import Path

from openapi_client import ApiClient, Configuration, EventsApi, SessionRequest, SessionsApi, SourceRequest

url, video, stream = sys.argv[1:]
with ApiClient(Configuration(host=url)) as client:
    sessions, events = SessionsApi(client), EventsApi(client)
    uploaded = sessions.upload_session(file=("v.mp4", Path(video).read_bytes()))
    assert uploaded.source.actual_instance.kind == "upload"
    pushed = sessions.create_session(SessionRequest(source=SourceRequest(push=True), name="push"))
    sessions.push_stream(pushed.id, body=Path(stream).read_bytes())
    for session in (uploaded, pushed):
        seen, after = [], None
        while not any(e.type == "session.state" and e.state == "completed" for e in seen):
            page = events.get_events(session.id, wait_s=5, after=after)
            seen, after = seen + [event.actual_instance for event in page.events], page.next or after
        assert sessions.get_session(session.id).state == "completed"
    assert sessions.get_snapshot(uploaded.id)[:2] == b"\\xff\\xd8"
"""

HEY_API = """
import { readFileSync } from "node:fs";
import { client } from "./client/client.gen";
import { createSession, getEvents, getSession, getSnapshot, pushStream, uploadSession } from "./client/sdk.gen";
import type { Session } from "./client/types.gen";

const [url, video, stream] = process.argv.slice(2) as [string, string, string];

async function main(): Promise<void> {
  client.setConfig({ baseUrl: url, throwOnError: true });
  const options = { throwOnError: true } as const;
  const file = new File([readFileSync(video)], "v.mp4");
  const uploaded: Session = (await uploadSession({ ...options, body: { file } })).data;
  const pushed: Session = (await createSession({ ...options, body: { source: { push: true }, name: "push" } })).data;
  const kinds: string[] = [uploaded.source.kind, pushed.source.kind];
  if (kinds.join() !== "upload,push") throw new Error(`wrong kinds: ${kinds}`);
  const path = { session_id: pushed.id };
  await pushStream({ ...options, path, body: new Blob([readFileSync(stream)]) });
  for (const { id } of [uploaded, pushed]) {
    let after: string | undefined;
    for (let ended = false; !ended; ) {
      const page = (await getEvents({ ...options, path: { session_id: id }, query: { wait_s: 5, after } })).data;
      if (page === undefined) throw new Error("no page");
      ended = page.events.some((event) => event.type === "session.state" && event.state === "completed");
      after = page.next ?? after;
    }
    const { data } = await getSession({ ...options, path: { session_id: id } });
    if (data.state !== "completed") throw new Error(`not completed: ${data.state}`);
  }
  const snapshot: Blob = (await getSnapshot({ ...options, path: { session_id: uploaded.id } })).data as Blob;
  if (snapshot.size === 0) throw new Error("no snapshot");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
"""


def run(*arguments: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        arguments, cwd=cwd, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest_asyncio.fixture
async def server(model: Path, tmp_path: Path) -> AsyncIterator[Child]:
    async with tiny_server(tmp_path / "data", model) as child:
        yield child


@pytest.fixture
def stream_file(stream: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "stream.ts"
    path.write_bytes(stream)
    return path


def use_openapi_python_client(folder: Path, description: Path, *arguments: str | Path) -> None:
    generate = ("openapi-python-client", "generate", "--path", description, "--meta", "none")
    run(*generate, "--output-path", folder / "client", cwd=folder)
    run(sys.executable, "-c", OPENAPI_PYTHON_CLIENT, *arguments, cwd=folder)


def use_openapi_generator(folder: Path, description: Path, *arguments: str | Path) -> None:
    run("openapi-generator-cli", "generate", "-i", description, "-g", "python", "-o", folder / "og", cwd=folder)
    run(sys.executable, "-c", OPENAPI_GENERATOR, *arguments, cwd=folder, environ={"PYTHONPATH": str(folder / "og")})


def use_hey_api(folder: Path, description: Path, *arguments: str | Path) -> None:
    compiler = shutil.which("tsc")
    assert compiler is not None
    run("openapi-ts", "-i", description, "-o", folder / "client", "-c", "@hey-api/client-fetch", cwd=folder)
    (folder / "main.ts").write_text(HEY_API)
    types = Path(compiler).resolve().parents[2] / "@types"
    options = ("--target", "es2022", "--module", "commonjs", "--strict", "--skipLibCheck", "--typeRoots", types)
    run(compiler, folder / "main.ts", "--outDir", folder / "built", *options, "--types", "node", cwd=folder)
    run("node", folder / "built" / "main.js", *arguments, cwd=folder)


@pytest.mark.parametrize("use_client", [use_openapi_python_client, use_openapi_generator, use_hey_api])
async def test_a_generated_client_uploads_pushes_and_reads(
    server: Child, tmp_path: Path, video: Path, stream_file: Path, use_client: Callable[..., None]
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        description = (await http.get("/openapi.json")).json()
    folder = tmp_path / "client"
    folder.mkdir()
    path = folder / "openapi.json"
    path.write_text(json.dumps(description))
    await asyncio.to_thread(use_client, folder, path, server.url, str(video), str(stream_file))
