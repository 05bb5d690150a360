"""Where files that tests read are kept."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SAMPLE = ROOT / "samples" / "mocap.mp4"
PEOPLE = ROOT / "samples" / "people.mp4"
