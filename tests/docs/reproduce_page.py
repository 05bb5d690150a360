"""docs/reproduce.md, command by command, on small data in the layouts and with the file formats that it names:
`make reproduction`. Not a part of the tests, because it takes two minutes of processor time.

The networks have the authors' size. Videos are short, their images smaller than on the page, and trainings take a step
per stage.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.docs.test_documentation import blocks, joined_lines
from tests.model.network.test_parity import LABELS, rule_weights
from tests.support.cake_command import run
from tests.support.layout_kit import SESSIONS, write_thumos
from tests.support.made_videos import write_video
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reproduce.md"
KINETICS_CLASSES = 400
ACTIONS = ("CliffDiving", "Diving", *LABELS[3:])
# The recipes' windows are 32 s long.
TRAINING_S, TESTING_S = 34, 8
IMAGE_PX = 64


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything that the page's commands read."""
    write_thumos(tmp_path, 2048, 1024, least_frames=140)
    _write_videos(tmp_path / "VIDEOS")
    write_video(tmp_path / "video.mp4", count=24, rate_hz=24)
    student, head = rule_weights("student_keys.json"), rule_weights("head_keys.json")
    torch.save({"epoch": 22, "state_dict": student}, tmp_path / "student.pth")
    torch.save(head, tmp_path / "head.pth")
    trunk = {re.sub(r"^head\.", "blocks.5.", name): value for name, value in student.items()}
    trunk = {name: value for name, value in trunk.items() if name.startswith("blocks.")}
    torch.save({"model_state": trunk}, tmp_path / "X3D_S.pyth")
    stem = "blocks.0.conv.conv_t.weight"
    torch.save(
        {f"module.{n}": v for n, v in {**trunk, stem: trunk[stem][:, :2]}.items()}, tmp_path / "best_x3d_flow.pth"
    )
    (tmp_path / "labels.txt").write_text("\n".join(("background", *ACTIONS)) + "\n")
    (tmp_path / "KINETICS").mkdir()
    write_video(tmp_path / "KINETICS" / "a.mp4", count=80)
    (tmp_path / "val.txt").write_text("a.mp4 17\n")
    classes = {f"class {number}": number for number in range(KINETICS_CLASSES)}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    return tmp_path


def _write_videos(folder: Path) -> None:
    """THUMOS'14 as it is distributed: videos, and a text file for each class and archive."""
    (folder / "videos").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for archive, names, length_s in zip(("val", "test"), SESSIONS.values(), (TRAINING_S, TESTING_S), strict=True):
        for name in names:
            write_video(folder / "videos" / f"{name}.mp4", count=length_s * 24, rate_hz=24)
        for number, label in enumerate(ACTIONS):
            begin_s = 1.0 + number % (length_s - 2)
            lines = [f"{name} {begin_s:.1f} {begin_s + 0.8:.1f}\n" for name in names]
            (folder / "annotations" / f"{label}_{archive}.txt").write_text("".join(lines))


def test_every_command_of_the_page_succeeds_in_its_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    lines = [line.partition(" #")[0] for shell in blocks(PAGE, "sh") for line in joined_lines(shell)]
    assert len(lines) == 16
    for line in lines:
        program, *arguments = shlex.split(line.replace("--image-size 224", f"--image-size {IMAGE_PX}"))
        assert program == "cake"
        if arguments[0] == "train" and arguments[1] != "calibrate":
            arguments += ["--effort", "0.000001", "--processes", "1"]
        status, out, err = run(*arguments)
        assert status == 0, f"{line}\n{out}\n{err}"
