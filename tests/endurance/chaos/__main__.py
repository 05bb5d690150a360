"""Run and report. Exit status 1: a check failed, or a process was left.

Redis with two replicas and three Sentinels, a bucket, two servers and three workers, each in a separate process. Six
files at the pace of cameras and three cameras last the whole run, and a new clip comes every few seconds. WebSocket
clients leave and resume at either server; webhooks go to a steady receiver, one that hangs at times, and one that never
answers. Meanwhile Redis and the processes are disturbed, independently of each other; see `redis_disturbances.py` and
`process_disturbances.py`.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.endurance.chaos.orphans import adopt_orphans, left_processes
from tests.endurance.chaos.program import FailedRunError
from tests.endurance.chaos.run import Report, run


def described(report: Report) -> str:
    lines = ["Disturbances:"]
    lines += [f"  {kind}: {count}" for kind, count in sorted(report.done.items())]
    if not report.has_small_disks:
        lines.append("  full disks: none, since this machine permits no user namespaces")
    lines += [
        f"{report.sessions} sessions, {report.events} events, {report.connections} connections of followers,"
        f" {report.redelivered} events delivered to webhooks again",
        f"Longest silence of a long session: {report.longest_silence_s:.1f} s; of the steady webhook receiver:"
        f" {report.longest_webhook_silence_s:.1f} s",
        "Checks:",
    ]
    for outcome in report.outcomes:
        lines.append(f"  {'FAILED' if outcome.wrong else 'ok'}: {outcome.what} ({outcome.checked} checked)")
        lines += [f"    {wrong}" for wrong in outcome.wrong[:20]]
    return "\n".join(lines)


async def _until_terminated(duration_s: float, seed: int, folder: Path) -> Report:
    """SIGTERM ends it as Ctrl-C does: everything is undone and reaped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(duration_s, seed, folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the choices of a run")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    sys.stderr.write(f"seed {chosen.seed}, logs in {folder}\n")
    adopt_orphans()
    began_s, failed = time.monotonic(), True
    try:
        report = asyncio.run(_until_terminated(60 * chosen.minutes, chosen.seed, folder))
        sys.stdout.write(f"{described(report)}\n")
        failed = any(outcome.wrong for outcome in report.outcomes)
    except* FailedRunError as group:
        sys.stdout.writelines(f"FAILED: {error}\n" for error in group.exceptions)
    except* (KeyboardInterrupt, asyncio.CancelledError):
        sys.stdout.write("FAILED: interrupted\n")
    finally:
        left = left_processes()
        if left:
            sys.stdout.write(f"FAILED: processes were left: {'; '.join(left)}\n")
        if not (failed or left):
            shutil.rmtree(folder)
    sys.stdout.write(f"{'FAILED' if failed or left else 'ok'} after {time.monotonic() - began_s:.0f} s\n")
    sys.exit(bool(failed or left))


if __name__ == "__main__":
    main()
