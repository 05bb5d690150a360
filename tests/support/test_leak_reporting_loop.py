"""A test that leaves a connection open fails itself, and does not disturb the next one."""

import asyncio

import pytest

from tests.support.leak_reporting_loop import LeakReportingLoop


def test_a_loop_closes_transports_that_were_left_open_and_reports_them() -> None:
    loop = LeakReportingLoop()
    loop.run_until_complete(asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0))
    with pytest.raises(ResourceWarning, match="TCPServer"):
        loop.close()
    assert loop.is_closed()
