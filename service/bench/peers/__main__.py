"""Compares with peers in a separate process: `python -m service.bench.peers REPORT.json [--quick]`.

The process restricts itself to one core before it loads anything. Otherwise, PyTorch's threads would expect several
cores, and wait for each other in busy loops when they share one.
"""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path


def main() -> None:
    """Write the report as JSON to the file that the first argument names."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["OMP_WAIT_POLICY"] = "passive"
    from model.architectures import cake_s
    from model.config import TrunkConfig
    from service.bench.core_time import Effort
    from service.bench.models import LABELS, random_network
    from service.bench.peers.measure import measure_peers

    path, *options = sys.argv[1:]
    config = cake_s(LABELS)
    if "--quick" in options:
        small = replace(config, image_size=32, trunk=TrunkConfig(widths=(24, 48), depths=(1, 1), strides=(2, 2)))
        report = measure_peers(random_network(small), Effort(1, 0.0), video_s=0.5, quick=True)
    else:
        report = measure_peers(random_network(config), Effort(7, 0.5), video_s=10.0)
    Path(path).write_text(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
