"""Uploaded videos are played: whole, in parts, and with tickets for players that cannot send a key."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.byte_range import requested_range
from service.errors import RangeNotSatisfiableError
from service.schemas import Session
from service.storage.blobs import READ_BYTES
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem, upload
from tests.support.running_server import Running

VIDEO = bytes(range(251)) * (READ_BYTES // 100)
SIZE = len(VIDEO)


@pytest.fixture
def server(server_of_blobs: Running) -> Running:
    return server_of_blobs


async def uploaded(server: Running) -> str:
    """Path of the video of a session."""
    session = Session.model_validate((await upload(server, video=VIDEO)).json())
    assert session.links.video is not None
    return session.links.video


async def part(server: Running, path: str, wanted: str, **headers: str) -> httpx.Response:
    return await server.http.get(path, headers={"Range": wanted, **headers})


async def test_a_video_is_returned_whole_or_in_part(server: Running) -> None:
    path = await uploaded(server)
    whole = await server.http.get(path)
    assert (whole.status_code, whole.content == VIDEO) == (200, True)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-length"] == str(SIZE)
    assert whole.headers["content-type"].split("/")[0] in ("video", "application")
    for wanted, first, end in (
        ("bytes=0-", 0, SIZE),
        ("bytes=100-199", 100, 200),
        (f"bytes={READ_BYTES - 3}-{READ_BYTES + 3}", READ_BYTES - 3, READ_BYTES + 4),
        (f"bytes={SIZE - 5}-{SIZE + 500}", SIZE - 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
    ):
        answer = await part(server, path, wanted)
        assert (answer.status_code, answer.content == VIDEO[first:end]) == (206, True), wanted
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{SIZE}"
        assert answer.headers["content-length"] == str(end - first)


async def test_a_range_that_no_byte_lies_in_is_refused_with_the_size(server: Running) -> None:
    path = await uploaded(server)
    for wanted in (f"bytes={SIZE}-", "bytes=9-5", "bytes=-0", "bytes=-", "bytes=first-last"):
        answer = await part(server, path, wanted)
        problem(answer, 416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{SIZE}"


async def test_head_and_ranges_of_another_file_or_unit_get_the_whole_video(server: Running) -> None:
    path = await uploaded(server)
    head = await server.http.head(path, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")
    etag = head.headers["etag"]
    assert (await part(server, path, "bytes=0-9", **{"If-Range": etag})).status_code == 206
    for headers in (
        {"Range": "bytes=0-9", "If-Range": '"other"'},
        {"Range": "bytes=0-9", "If-Range": "Mon, 30 Nov 2026 09:00:00 GMT"},
        {"Range": "frames=0-9"},
        {"Range": "bytes=0-9,20-29"},
    ):
        answer = await server.http.get(path, headers=headers)
        assert (answer.status_code, len(answer.content)) == (200, SIZE), headers


async def test_only_uploads_have_a_video_and_only_while_they_exist(server: Running) -> None:
    by_url = await server.running_session()
    assert by_url.links.video is None
    problem(await server.http.get(f"{by_url.links.self}/video"), 404, "not_found")
    problem(await server.http.get("/v1/sessions/none/video"), 404, "not_found")
    path = await uploaded(server)
    record = await server.worker.claim()
    await server.worker.enter(record.id, "completed")
    assert (await server.http.delete(path.removesuffix("/video"))).status_code == 204
    problem(await server.http.get(path), 404, "not_found")


async def test_a_name_never_makes_a_video_a_page(server: Running) -> None:
    for filename, media_type in (("a.mp4", "video/mp4"), ("a.html", "application/octet-stream")):
        files = {"file": (filename, b"<script>alert(1)</script>", "text/html")}
        session = Session.model_validate((await server.http.post("/v1/sessions", files=files)).json())
        assert session.links.video is not None
        answer = await server.http.get(session.links.video)
        assert answer.headers["content-type"] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_ticket_plays_the_video_of_its_session_only(server: Running) -> None:
    key = await make_key(server, "sessions:read", "sessions:write", "events:read")
    other = await make_key(server, "sessions:read", "events:read")
    blind = await make_key(server, "events:read")
    paths = []
    for number in range(2):
        files = {"file": (f"{number}.mp4", VIDEO)}
        answer = await server.http.post("/v1/sessions", files=files, headers=bearer(key))
        paths.append(answer.json()["links"]["video"])
    problem(await server.http.get(paths[0]), 401, "unauthorized")
    problem(await server.http.get(paths[0], headers=bearer(blind)), 403, "missing_scope")
    problem(await server.http.get(paths[0], headers=bearer(other)), 404, "not_found")
    problem(await server.http.post(f"{paths[0]}/tickets", headers=bearer(other)), 404, "not_found")
    problem(await server.http.post(f"{paths[0]}/tickets", headers=bearer(blind)), 403, "missing_scope")
    made = await server.http.post(f"{paths[0]}/tickets", headers=bearer(key))
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    params = {"ticket": made.json()["ticket"]}
    for wanted in ("bytes=0-9", "bytes=10-19"):
        answer = await server.http.get(paths[0], params=params, headers={"Range": wanted})
        assert answer.status_code == 206
    problem(await server.http.get(paths[1], params=params), 401, "unauthorized")
    events = paths[0].replace("/video", "/events")
    stream = {"Accept": "text/event-stream"}
    problem(await server.http.get(events, params=params, headers=stream), 401, "unauthorized")
    for_streams = (await server.http.post("/v1/tickets", headers=bearer(key))).json()["ticket"]
    problem(await server.http.get(paths[0], params={"ticket": for_streams}), 401, "unauthorized")


@given(first=st.integers(0, 300), last=st.integers(0, 300), size_bytes=st.integers(0, 200))
def test_a_range_selects_the_bytes_that_it_names_or_is_rejected(first: int, last: int, size_bytes: int) -> None:
    named = range(size_bytes)[first : last + 1]
    if len(named) == 0:
        with pytest.raises(RangeNotSatisfiableError):
            requested_range(f"bytes={first}-{last}", size_bytes)
        return
    found = requested_range(f"bytes={first}-{last}", size_bytes)
    assert found is not None
    assert range(found.first, found.end) == named
