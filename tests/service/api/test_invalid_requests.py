"""Invalid requests are explained in sentences of our own, field by field."""

from pathlib import Path

from tests.support.api_kit import problem
from tests.support.running_server import running_server

CASES: tuple[tuple[dict[str, object], str], ...] = (
    ({}, "source: is required."),
    ({"source": 1}, "source: must be an object."),
    ({"source": {"url": "clip.mp4"}}, "source.url: is not a valid URL: relative URL without a base."),
    ({"source": {"url": "gopher://a/"}}, "source.url: must be"),
    ({"source": {"url": "rtsp://8.8.8.8:0/"}}, "source.url: has port 0, which nothing can listen on."),
    ({"source": {"push": True}, "webhook": {"url": "https://8.8.8.8:0/"}}, "webhook.url: has port 0"),
    ({"source": {"push": True, "max_down_s": 0}}, "source.max_down_s: must be greater than 0."),
    ({"source": {"push": True, "max_down_s": "soon"}}, "source.max_down_s: must be a number."),
    ({"source": {"push": True, "stream": 1.5}}, "source.stream: must be a whole number."),
    ({"source": {"push": "perhaps"}}, "source.push: must be true or false."),
    ({"source": {"push": True}, "pace": "slow"}, "pace: must be 'fast' or 'realtime'."),
    ({"source": {"push": True}, "colour": 1}, "colour: is not a known field."),
    ({"source": {"push": True}, "labels": "kick"}, "labels: must be a list."),
    ({"source": {"push": True}, "name": 5}, "name: must be a string."),
)

TARGETS: tuple[tuple[object, str], ...] = (
    (3, "target: must be an object."),
    ({"url": "http://127.0.0.1/"}, "target: needs the field 'kind', which says what it is."),
    ({"kind": "fax"}, "target: has 'fax' as 'kind', which must be one of 'webhook', 'mqtt', 'redis', 'apprise'."),
    ({"kind": "webhook", "url": "https://8.8.8.8:0/"}, "target.webhook.url: has port 0, which nothing can listen on."),
    ({"kind": "mqtt", "url": "mqtt://8.8.8.8:0"}, "target.mqtt.url: has port 0, which nothing can listen on."),
)


async def test_invalid_fields_are_explained_in_our_own_words(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        for body, expected in CASES:
            answer = await server.http.post("/v1/sessions", json=body)
            detail = problem(answer, 422, "invalid_request").detail
            assert detail.startswith(expected), (body, detail)
        answer = await server.http.get("/v1/sessions?limit=0")
        assert problem(answer, 422, "invalid_request").detail == "limit: must be at least 1."
        for target, expected in TARGETS:
            answer = await server.http.post("/v1/subscriptions", json={"target": target})
            assert problem(answer, 422, "invalid_request").detail == expected
