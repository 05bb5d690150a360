"""Clips and stills of the events of uploaded videos, which are cut on request."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.live.missed_clip import NOT_RUNNING
from service.schemas import Session
from service.storage.blobs import Blobs
from service.storage.stored_files import StoredFile, upload_name
from tests.support.api_kit import problem, upload
from tests.support.clip_kit import frames_of_clip, number_of_still
from tests.support.made_videos import write_video
from tests.support.running_server import Running

RATE_HZ = 30


@pytest.fixture
def server(server_of_blobs: Running) -> Running:
    return server_of_blobs


async def analysed(server: Running, video: Path, starts_s: list[float]) -> Session:
    """A session of an uploaded video, in which actions started."""
    content = await asyncio.to_thread(video.read_bytes)
    session = Session.model_validate((await upload(server, video=content)).json())
    await server.worker.claim()
    await server.worker.enter(session.id, "running")
    await server.worker.starts(session.id, starts_s)
    return session


def of(session: Session, event_id: str, what: str) -> str:
    return f"{session.links.events}/{event_id}/{what}"


async def test_a_clip_of_an_upload_contains_the_start_frame_by_frame(server: Running, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=180, rate_hz=RATE_HZ)
    session = await analysed(server, video, [3.0, 4.0])
    answer = await server.http.get(of(session, "3000-0", "clip.mp4"), params={"before_s": 1.1, "after_s": 0.5})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    frames = frames_of_clip(answer.content, float(answer.headers["clip-from-s"]))
    times = [time_s for time_s, _ in frames]
    # Every twelfth frame is a keyframe, and the clip begins with one.
    assert (times[0], 3.4 < times[-1] < 3.6) == (1.6, True)
    assert times == pytest.approx([times[0] + frame / RATE_HZ for frame in range(len(times))], abs=0.002)
    assert [number for _, number in frames] == [round(time_s * RATE_HZ) % 50 for time_s in times]
    still = await server.http.get(of(session, "4000-0", "still.jpg"))
    assert (still.status_code, still.headers["content-type"]) == (200, "image/jpeg")
    assert number_of_still(still.content) == 4 * RATE_HZ % 50
    uploads = server.settings.data_dir / "uploads"
    assert len(list(uploads.iterdir())) == (server.settings.blob_url is None)


async def test_without_parameters_a_clip_reaches_from_five_seconds_before_to_ten_after(
    server: Running, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "v.mp4", count=20 * 10, rate_hz=10, codec_options={"preset": "ultrafast", "g": "10"})
    session = await analysed(server, video, [7.0])
    answer = await server.http.get(of(session, "7000-0", "clip.mp4"))
    frames = frames_of_clip(answer.content, float(answer.headers["clip-from-s"]))
    assert frames[0][0] == 2.0
    assert frames[-1][0] == pytest.approx(17.0, abs=0.3)


async def test_a_missed_action_of_an_upload_has_a_clip(server: Running, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=180, rate_hz=RATE_HZ)
    uploaded, by_url = await analysed(server, video, [1.0]), await server.running_session()
    clips = []
    for session in (uploaded, by_url):
        answer = await server.http.post(f"{session.links.self}/feedback", json={"label": "kick", "start_s": 3.0})
        no_worker = None if session is uploaded else NOT_RUNNING
        assert answer.json()["clip_problem"] == no_worker
        clips.append(f"{session.links.self}/feedback/{answer.json()['id']}/clip.mp4")
    answer = await server.http.get(clips[0], params={"before_s": 1.1, "after_s": 0.5})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4"), answer.text
    times = [time_s for time_s, _ in frames_of_clip(answer.content, float(answer.headers["clip-from-s"]))]
    assert (times[0], 3.4 < times[-1] < 3.6) == (1.6, True)
    assert "no clip of this missed action" in problem(await server.http.get(clips[1]), 404, "not_found").detail
    unknown = f"{uploaded.links.self}/feedback/missed-{'0' * 32}/clip.mp4"
    assert "no such missed action" in problem(await server.http.get(unknown), 404, "not_found").detail


async def test_events_without_a_clip_say_why(server: Running, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", codec="mpeg4", codec_options={"g": "12"})
    session = await analysed(server, video, [1.0, 90.0])
    assert "H.264" in problem(await server.http.get(of(session, "1000-0", "clip.mp4")), 409, "not_playable").detail
    assert (await server.http.get(of(session, "1000-0", "still.jpg"))).status_code == 200
    assert "ends before" in problem(await server.http.get(of(session, "90000-0", "still.jpg")), 404, "not_found").detail
    assert "not an action" in problem(await server.http.get(of(session, "0-1", "clip.mp4")), 404, "not_found").detail
    assert "no such event" in problem(await server.http.get(of(session, "1000-1", "clip.mp4")), 404, "not_found").detail
    problem(await server.http.get(of(session, "soon", "clip.mp4")), 422, "invalid_request")
    problem(await server.http.get(of(session, "1000-0", "clip.mp4"), params={"before_s": 1e9}), 422, "invalid_request")
    problem(await server.http.get("/v1/sessions/none/events/0-0/clip.mp4"), 404, "not_found")
    by_url = await server.running_session()
    await server.worker.starts(by_url.id, [1.0])
    for what in ("clip.mp4", "still.jpg"):
        assert "CAKE_CLIPS" in problem(await server.http.get(of(by_url, "1000-0", what)), 404, "clip_not_kept").detail


async def test_a_deleted_session_has_no_clips(server: Running, tmp_path: Path) -> None:
    session = await analysed(server, write_video(tmp_path / "v.mp4"), [1.0])
    assert (await server.http.get(of(session, "1000-0", "clip.mp4"))).status_code == 200
    await server.worker.enter(session.id, "completed")
    assert (await server.http.delete(session.links.self)).status_code == 204
    problem(await server.http.get(of(session, "1000-0", "clip.mp4")), 404, "not_found")


async def test_a_still_is_cut_once_and_deleted_with_its_session(server: Running, tmp_path: Path) -> None:
    session = await analysed(server, write_video(tmp_path / "v.mp4"), [1.0])
    first = await server.http.get(of(session, "1000-0", "still.jpg"))
    # Without the video, nothing can be cut.
    blobs = Blobs(server.settings.blob_url, server.settings.data_dir)
    await blobs.remove(StoredFile(upload_name(session.id), datetime.now(UTC), 0, is_local=False))
    problem(await server.http.get(of(session, "1000-0", "clip.mp4")), 404, "not_found")
    again = await server.http.get(of(session, "1000-0", "still.jpg"))
    assert (again.status_code, again.content) == (200, first.content)
    await server.worker.enter(session.id, "completed")
    assert (await server.http.delete(session.links.self)).status_code == 204
    assert [file.name async for batch in blobs.files() for file in batch] == []
