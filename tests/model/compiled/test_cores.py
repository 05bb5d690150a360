"""Workers on one machine use all of its cores."""

import os
import threading

from model.detector import Detector
from tests.support.random_networks import random_frames, random_network

SIZE, STEPS = 32, 200


def test_a_step_may_run_on_every_core() -> None:
    detector = Detector(random_network("cake-xs", SIZE))
    detector.prepare((1,))
    frame, stream = random_frames(1, 1, SIZE)[0], detector.open_stream()

    def push() -> None:
        for _ in range(STEPS):
            detector.push([stream], frame)

    pushing = threading.Thread(target=push)
    pushing.start()
    assert pushing.native_id is not None
    seen = {frozenset(os.sched_getaffinity(0))}
    while pushing.is_alive():
        try:
            seen.add(frozenset(os.sched_getaffinity(pushing.native_id)))
        except ProcessLookupError:  # it has just ended
            break
    pushing.join()
    assert len(seen) == 1
