"""The classes of MocapStreams. Importable without pybullet."""

ACTIONS: tuple[str, ...] = (
    "kick",
    "punch",
    "cartwheel",
    "backflip",
    "crawl",
    "jump",
    "roll",
    "spin",
    "spinkick",
    "getup_facedown",
    "getup_faceup",
    "dance_a",
    "dance_b",
    "run",
)
LABELS: tuple[str, ...] = ("background", *ACTIONS)
