"""Without a terminal, long commands print a line per stage and per minute."""

from model.commands.progress import ProgressLines


class Shown:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self.progress = ProgressLines(self.lines.append, lambda: self.now_s, self.lines.append).progress


def test_a_stage_is_announced_estimated_after_ten_seconds_and_reported_each_minute() -> None:
    shown = Shown()
    shown.progress.on_stage("trunk")
    for step in range(1, 201):
        shown.now_s = step - 1.0
        shown.progress.on_step(step, 200, 0.5)
    assert shown.lines == [
        "trunk",
        "trunk: 11 of 200, loss 0.500, about 3 min left",
        "trunk: 71 of 200, loss 0.500, about 2 min left",
        "trunk: 131 of 200, loss 0.500, about 69 s left",
        "trunk: 191 of 200, loss 0.500, about 9 s left",
        "trunk: 200 of 200, loss 0.500, done in 3 min",
    ]


def test_a_resumed_stage_estimates_by_the_steps_of_this_run() -> None:
    shown = Shown()
    shown.progress.on_stage("trunk")
    shown.progress.on_step(5001, 10_000, 0.5)
    shown.now_s = 100.0
    shown.progress.on_step(5101, 10_000, 0.5)
    assert shown.lines[-1] == "trunk: 5101 of 10000, loss 0.500, about 82 min left"


def test_each_stage_ends_with_one_line() -> None:
    shown = Shown()
    for name in ("decoding", "scoring"):
        shown.progress.on_stage(name)
        shown.progress.on_item(2, 2)
        shown.progress.on_item(2, 2)
    assert shown.lines == ["decoding", "decoding: 2 of 2, done in 0 s", "scoring", "scoring: 2 of 2, done in 0 s"]
