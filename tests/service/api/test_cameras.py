"""`POST /v1/cameras:discover` finds ONVIF devices of our own, for administrators and in allowed networks only."""

from pathlib import Path

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.onvif_device import OnvifServer, Stream, onvif_device
from tests.support.running_server import running_server

PATH = "/v1/cameras:discover"
STREAMS = (Stream("main", 2560, 1440), Stream("sub", 640, 360), Stream("tiny", 64, 36))


async def test_the_stream_that_suits_the_model_comes_first_and_no_password_is_returned(tmp_path: Path) -> None:
    with onvif_device(OnvifServer(STREAMS)) as device:
        search = {"hosts": [f"127.0.0.1:{device.probe_port}"], "within_s": 1, "user": "admin"}
        async with running_server(tmp_path / "data", source_allow="127.0.0.0/8") as server:
            await server.worker.register()
            refused = (await server.http.post(PATH, json=search)).json()
            found = (await server.http.post(PATH, json={**search, "password": device.password})).json()
    assert refused == {"cameras": [], "problems": [f"Hall & Door ({device.url}): it rejects this user and password"]}
    [camera] = found["cameras"]
    assert (camera["name"], camera["device_url"], found["problems"]) == ("Hall & Door", device.url, [])
    assert [profile["name"] for profile in camera["profiles"] if profile["is_suitable"]] == ["sub"]
    assert [profile["name"] for profile in camera["profiles"]] == ["sub", "main", "tiny"]
    assert camera["profiles"][0]["url"] == "rtsp://127.0.0.1:8554/sub?unicast=true&proto=Onvif"
    assert camera["profiles"][1] | {"url": ""} == {
        "name": "main",
        "url": "",
        "codec": "H264",
        "width": 2560,
        "height": 1440,
        "rate_hz": 25.0,
        "is_suitable": False,
    }


async def test_nothing_is_asked_outside_the_allowed_networks(tmp_path: Path) -> None:
    with onvif_device(OnvifServer(STREAMS, auth="none")) as device:
        search = {"hosts": [f"127.0.0.1:{device.probe_port}"], "within_s": 0.5}
        async with running_server(tmp_path / "none", source_allow="") as server:
            await server.worker.register()
            problem(await server.http.post(PATH, json=search), 403, "source_forbidden")
            assert not (await server.http.get("/v1/capabilities")).json()["camera_discovery"]
        async with running_server(tmp_path / "data", source_allow="127.0.0.1/32") as server:
            await server.worker.register()
            problem(await server.http.post(PATH, json=search | {"hosts": ["192.0.2.9"]}), 403, "source_forbidden")
            answer = await server.http.post(PATH, json={"hosts": ["camera.example"]})
            assert "is not an IPv4 address" in problem(answer, 422, "invalid_request").detail
            # The device answers from an allowed address, and leads elsewhere.
            device.host = "192.0.2.9"
            found = (await server.http.post(PATH, json=search)).json()
    assert (found["cameras"], len(found["problems"]), device.requests) == ([], 1, [])
    assert "not in CAKE_SOURCE_ALLOW" in found["problems"][0]


async def test_only_administrators_search(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", source_allow="127.0.0.0/8") as server:
        writer = await make_key(server, "sessions:write", "sessions:read")
        problem(await server.http.post(PATH, json={}, headers=bearer(writer)), 403, "missing_scope")
