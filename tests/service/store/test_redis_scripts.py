"""The parts of the Redis store's Lua scripts, and their cost for Redis."""

import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

import service.store.redis
from service.store.records import ResumePoint, ScoreRow, SessionUpdate
from tests.support.store_kit import Clock, claimed, open_redis, start, with_worker

LUA = Path(service.store.redis.__file__).parent / "lua"
OF_THE_CLIENT = {"evalsha", "script|load", "config|resetstat", "info", "hello", "client|setinfo", "select"}
DEFINED = re.compile(r"^local function (\w+)\(", re.MULTILINE)


@pytest.mark.parametrize("script", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_a_script_contains_all_parts_that_it_uses_and_no_others(script: Path) -> None:
    named = re.match(r"-- uses ([\w ]+)\n", text := script.read_text())
    parts = [] if named is None else named[1].split()
    of_part = {path.stem: path.read_text() for path in (LUA / "parts").glob("*.lua")}
    functions = {part: DEFINED.findall(definitions) for part, definitions in of_part.items()}
    sources = [text, *(of_part[part] for part in parts)]
    for part, names in functions.items():
        called = re.compile(rf"\b(?:{'|'.join(names)})\(")
        callers = [source for source in sources if source != of_part[part] and called.search(source)]
        assert bool(callers) == (part in parts), part


async def test_a_commit_runs_few_commands_in_redis(redis_url: str, clock: Clock) -> None:
    async with with_worker(open_redis(redis_url, clock)) as store, Redis.from_url(redis_url) as client:
        session = await claimed(store)
        await client.config_resetstat()
        await store.log.commit(
            session.id,
            session.token,
            events=[start(session.id, "5000-0"), start(session.id, "6000-0")],
            scores=[ScoreRow(5.0 + n / 10, [0.5, 0.5]) for n in range(5)],
            update=SessionUpdate(position_s=6.0, frames=60),
            resume_point=ResumePoint(6.0, {}, 60, None),
        )
        calls = {name.removeprefix("cmdstat_"): of["calls"] for name, of in (await client.info("commandstats")).items()}
    of_scripts = {name: count for name, count in calls.items() if name not in OF_THE_CLIENT}
    # `set` twice when Redis's clock has not moved since the last event.
    assert of_scripts.pop("set") in (1, 2)
    assert of_scripts == {"hmget": 1, "time": 1, "incr": 1, "xadd": 2 + 2 + 5, "hset": 2}
