"""`write_report`: the content of the page, unusual input, and that it loads nothing else."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig, StartRule
from model.thresholds import ActionStart, StartDecoder
from model.training.evaluation.evaluate import evaluate
from model.training.evaluation.scores import StreamScores
from model.training.layouts.segments import Segment
from model.training.report.figures import draw_confusion
from model.training.report.log import read_logs
from model.training.report.measures import announced_starts, confusion, start_delays_s, telling_streams
from model.training.report.write import write_report
from tests.support.tiny_model import tiny_model

LABELS = ("background", "kick", "punch")
PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img"}


def config_of(labels: Sequence[str] = LABELS) -> ModelConfig:
    rules = {label: StartRule(enter=0.6, leave=0.4) for label in labels[1:]}
    return replace(tiny_model().config, labels=tuple(labels), start_rules=rules)


def stream_of(
    segments: Sequence[Segment] = ((1.0, 3.0, "kick"),),
    labels: Sequence[str] = LABELS,
    *,
    name: str = "stream",
    late_s: float = 0.3,
    height: float = 0.9,
) -> StreamScores:
    """Ten seconds in which each action scores `height`, from `late_s` after it begins until it ends."""
    pts_s_T = np.arange(100) / 10
    scores_TK = np.full((100, len(labels)), 0.05)
    for start_s, end_s, label in segments:
        if label in labels:
            scores_TK[(pts_s_T >= start_s + late_s) & (pts_s_T < end_s), labels.index(label)] = height
    scores_TK[:, 0] = 1 - scores_TK[:, 1:].max(axis=1)
    return StreamScores(name, pts_s_T, scores_TK, segments)


def written(run_dir: Path, streams: Sequence[StreamScores], config: ModelConfig | None = None) -> str:
    config = config or config_of()
    report = evaluate(streams, config.labels, config.start_rules, config.candidate_rule)
    write_report(run_dir, streams, config, report, run_dir / "report.html")
    return (run_dir / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """The nesting of tags, the text of each table row, and the page's references."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1].append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row[0] == name)


def write_log(run_dir: Path, stage: str, entries: Sequence[Mapping[str, float] | str]) -> None:
    folder = run_dir / "stages" / stage
    folder.mkdir(parents=True)
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    write_log(tmp_path, "trunk", [{"step": 20, "loss": 2.0}, {"step": 40, "loss": 1.0}])
    html = written(tmp_path, [stream_of(), stream_of([(2.0, 4.0, "punch")])])
    images = Page(html).references
    assert len(images) >= 6
    for image in images:
        assert image.startswith("data:image/png;base64,")
        assert base64.b64decode(image.split(",", 1)[1], validate=True).startswith(PNG)
    assert not re.search(r"https?:|@import|url\(|<script|<link", html)


def test_every_class_has_a_row_with_the_numbers_of_the_evaluation(tmp_path: Path) -> None:
    streams = [stream_of([(1.0, 3.0, "kick"), (5.0, 8.0, "punch")])]
    page = Page(written(tmp_path, streams))
    report = evaluate(streams, LABELS, config_of().start_rules, config_of().candidate_rule)
    for label, of_class in report.per_class.items():
        assert of_class.frame_ap is not None
        assert page.row(label)[1] == f"{100 * of_class.frame_ap:.1f}"
        assert page.row(label)[-3:] == ["1", "1", "0"]
    assert page.row("all")[-3:] == ["2", "2", "0"]


def test_names_are_escaped_and_never_taken_for_formulas(tmp_path: Path) -> None:
    labels = ("background", "<script>alert(1)</script>", "costs $5 & $x_{$", "_a\nb")
    streams = [stream_of([(1.0, 3.0, labels[1]), (4.0, 6.0, labels[2])], labels, name='"><img src=x>')]
    html = written(tmp_path, streams, replace(config_of(labels), name="<b>bold</b>"))
    page = Page(html)
    assert "<script" not in html
    assert "<b>" not in html
    assert all(page.row(label) for label in labels[1:3])
    assert '"><img src=x>' in page.text


def test_a_class_that_never_occurs_has_no_average_precision(tmp_path: Path) -> None:
    page = Page(written(tmp_path, [stream_of([(1.0, 3.0, "kick")])]))
    assert page.row("punch")[1:] == ["–"] * 6 + ["0", "0", "0"]


def test_streams_without_any_action_or_start_are_also_reported(tmp_path: Path) -> None:
    page = Page(written(tmp_path, [stream_of([])]))
    assert "No start was found" in page.text
    assert "no action: stream" in page.text


def test_a_model_that_announces_nothing_is_said_to_have_no_rules(tmp_path: Path) -> None:
    page = Page(written(tmp_path, [stream_of()], replace(config_of(), start_rules={})))
    assert "it announces nothing" in page.text


def test_ambiguous_frames_and_overlapping_actions_are_accepted(tmp_path: Path) -> None:
    segments = [(1.0, 4.0, "kick"), (2.0, 5.0, "punch"), (6.0, 8.0, "ambiguous")]
    assert Page(written(tmp_path, [stream_of(segments)])).row("kick")


@pytest.mark.slow
@pytest.mark.parametrize("actions", [1, 26])
def test_few_classes_and_many_fit_the_page(tmp_path: Path, actions: int) -> None:
    labels = ("background", *(f"an action with quite a long name {i}" for i in range(actions)))
    page = Page(written(tmp_path, [stream_of([(1.0, 3.0, labels[1])], labels)], config_of(labels)))
    assert all(page.row(label) for label in labels[1:])


@pytest.mark.parametrize("actions", [1, 14, 26])
def test_the_confusion_of_some_classes_is_as_wide_as_the_page_at_most(actions: int) -> None:
    labels = ["background", *(f"an action with quite a long name {i}" for i in range(actions))]
    assert draw_confusion(np.eye(len(labels), dtype=np.int64), labels).get_figwidth() <= 10.6


def test_a_stream_of_two_frames_is_enough(tmp_path: Path) -> None:
    stream = StreamScores("short", np.array([0.0, 0.1]), np.full((2, 3), 0.3), [(0.0, 0.1, "kick")])
    assert "of 0.0 minutes" in Page(written(tmp_path, [stream])).text


def test_a_report_without_streams_is_refused(tmp_path: Path) -> None:
    report = evaluate([stream_of()], LABELS, {}, config_of().candidate_rule)
    with pytest.raises(ValueError, match="at least one scored stream"):
        write_report(tmp_path, [], config_of(), report, tmp_path / "report.html")


def test_the_recipe_and_the_configuration_are_shown(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": {"distill": {"loss": "mgd"}}}))
    page = Page(written(tmp_path, [stream_of()]))
    assert page.row("recipe.distill.loss")[1] == "mgd"
    assert page.row("trunk.widths")[1] == "8, 16"


def test_stages_come_in_the_order_of_training(tmp_path: Path) -> None:
    for stage in ("head", "distill", "another", "trunk", "teacher"):
        write_log(tmp_path, stage, [{"step": 20, "loss": 1.0}])
    assert [log.stage for log in read_logs(tmp_path)] == ["trunk", "teacher", "distill", "head", "another"]
    text = Page(written(tmp_path, [stream_of()])).text
    assert text.index("trunk 20 steps") < text.index("teacher 20 steps") < text.index("head 20 steps")


def test_a_log_torn_by_a_kill_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    entries = [{"step": 20, "loss": 3.0, "seconds": 60}, {"step": 40, "loss": math.nan, "seconds": 120}]
    again = {"step": 60, "loss": 1.0, "cosine": 0.5, "seconds": 30}
    write_log(tmp_path, "distill", [*entries, '{"step": 60, "lo', again])
    (log,) = read_logs(tmp_path)
    assert log.curves["loss"] == ([20, 60], [3.0, 1.0])
    assert log.curves["cosine"] == ([60], [0.5])
    assert log.seconds == 150
    text = Page(written(tmp_path, [stream_of()])).text
    assert "60 steps in 2.5 minutes. 1 lines of the log could not be read." in text


def test_a_stage_without_logs_is_omitted(tmp_path: Path) -> None:
    write_log(tmp_path, "trunk", [])
    assert "This run has no logs of its stages." in Page(written(tmp_path, [stream_of()])).text


def test_the_timelines_show_the_median_the_best_and_the_worst_stream(tmp_path: Path) -> None:
    lateness = {"a": 1.0, "b": 0.0, "c": 1.8, "d": 0.5, "e": 1.5}
    streams = [stream_of([(1.0, 3.0, "kick")], name=name, late_s=late_s) for name, late_s in lateness.items()]
    reported = {name: stream.name for name, stream, _ in telling_streams([*streams, stream_of([])], LABELS)}
    assert reported == {"median": "a", "best": "b", "worst": "c"}
    text = Page(written(tmp_path, streams)).text
    assert all(f"{name}: {stream}" in text for name, stream in reported.items())


def test_two_streams_are_shown_once_each() -> None:
    streams = [stream_of(name="good", late_s=0), stream_of(name="bad", late_s=1.5)]
    assert [(name, s.name) for name, s, _ in telling_streams(streams, LABELS)] == [("median", "bad"), ("best", "good")]
    assert [(name, s.name) for name, s, _ in telling_streams(streams[:1], LABELS)] == [("the only one", "good")]


def test_the_delays_of_the_histogram_are_those_of_the_evaluation() -> None:
    streams = [stream_of([(1.0, 3.0, "kick"), (5.0, 8.0, "punch")], late_s=late_s) for late_s in (0.2, 0.5, 0.9)]
    delays_s = start_delays_s(streams, config_of())
    assert sorted(np.round(delays_s, 6)) == [0.2, 0.2, 0.5, 0.5, 0.9, 0.9]
    report = evaluate(streams, LABELS, config_of().start_rules, config_of().candidate_rule)
    assert report.start_delay_s.median == pytest.approx(np.median(delays_s))


def test_a_frame_of_several_labels_counts_for_the_last_one_to_start() -> None:
    segments = [(1.0, 4.0, "kick"), (2.0, 5.0, "punch"), (6.0, 8.0, "ambiguous")]
    counts_KK = confusion([stream_of(segments)], LABELS)
    assert counts_KK.sum(axis=1).tolist() == [100 - 40 - 20, 10, 30]


scores_of_streams = st.lists(
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=30), min_size=1, max_size=3
)


@given(scores_of_streams, st.floats(0, 2), st.floats(0, 3))
@settings(max_examples=30)
def test_every_frame_is_in_one_cell_of_the_confusion(
    rows: list[list[tuple[float, ...]]], start_s: float, length_s: float
) -> None:
    streams = [
        StreamScores("s", np.arange(len(r)) / 10, np.array(r), [(start_s, start_s + length_s, "kick")]) for r in rows
    ]
    counts_KK = confusion(streams, LABELS)
    assert counts_KK.sum() == sum(map(len, rows))
    assert counts_KK[1].sum() == sum(int(stream.covered("kick").sum()) for stream in streams)


@given(scores_of_streams, st.floats(0, 100))
@settings(max_examples=30)
def test_the_starts_of_a_timeline_are_those_that_the_service_announces(
    rows: list[list[tuple[float, ...]]], first_s: float
) -> None:
    config = config_of()
    for row in rows:
        stream = StreamScores("s", first_s + np.arange(len(row)) / 10, np.array(row), [])
        decoder = StartDecoder(config.labels, config.start_rules)
        announced: dict[str, list[float]] = {label: [] for label in config.start_rules}
        for pts_s, scores_K in zip(stream.pts_s, stream.scores, strict=True):
            for event in decoder.push(float(pts_s), scores_K.tolist()):
                if isinstance(event, ActionStart):
                    announced[event.label].append(event.decided_s)
        found = announced_starts(stream, config)
        assert {label: list(found[label].decided_s) for label in found} == {
            label: pytest.approx(times) for label, times in announced.items()
        }
