"""`cake models import`: files of the authors' and of PyTorchVideo's networks, and other files."""

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.architectures import cake_s
from model.checkpoints.checkpoint import load_checkpoint, load_parts, save_checkpoint
from model.checkpoints.classifiers import read_classifiers
from model.checkpoints.foreign_weights import read_foreign_weights
from model.checkpoints.stored import CheckpointError, read_config
from model.network.cake import Cake
from tests.model.network.test_parity import LABELS, rule_weights
from tests.support.cake_command import run
from tests.support.tiny_model import LABELS as TINY_LABELS
from tests.support.tiny_model import tiny_model

LIST = ",".join(LABELS)
Weights = dict[str, Tensor]


def import_models(*arguments: object) -> tuple[int, str]:
    """Exit status and stderr."""
    status, _, err = run("models", "import", *arguments, COLUMNS="200")
    return status, err


@pytest.fixture(scope="module")
def student() -> Weights:
    return rule_weights("student_keys.json")


@pytest.fixture(scope="module")
def head() -> Weights:
    return rule_weights("head_keys.json")


@pytest.fixture(scope="module")
def x3d(student: Weights) -> Weights:
    """Weights as PyTorchVideo publishes them: the trunk under the student's names, and the head as its sixth block."""
    return {
        re.sub(r"^head\.", "blocks.5.", name): tensor
        for name, tensor in student.items()
        if name.startswith(("blocks.", "head."))
    }


def written(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def test_student_and_head_files_become_a_model_that_loads(student: Weights, head: Weights, tmp_path: Path) -> None:
    wrapped = {"epoch": 3, "model_state_dict": {f"module.{name}": tensor for name, tensor in student.items()}}
    student_file = written(tmp_path / "student.pth", wrapped)
    head_file = written(tmp_path / "head.pt", {"model": head}, _use_new_zipfile_serialization=False)
    labels_file = tmp_path / "labels.txt"
    labels_file.write_text("\n".join(LABELS[1:]) + "\n")
    out = tmp_path / "model"
    status, reported = import_models(
        "--student", student_file, "--head", head_file, "--labels", labels_file, "--mode", "clip", "--out", out
    )
    assert (status, "untrained" in reported) == (0, False), reported
    model, _ = load_checkpoint(out)
    assert (
        model.config == replace(cake_s(LABELS), framing="centre_crop", mode="clip", settle_s=0.0).with_default_rules()
    )
    assert "not calibrated" in reported
    assert "about 13 times the work of causal mode" in reported
    assert torch.equal(model.trunk.stem.spatial.weight, student["blocks.0.conv.conv_t.weight"][:, :, 0]), (
        "RGB stays RGB"
    )
    assert np.array_equal(read_classifiers(out).motion_ND, student["flow_head.proj.weight"])
    assert torch.equal(model.motion_head.project.weight, student["flow_head.pool.post_conv.weight"].flatten(1))
    weight_hh = model.head.gru.weight_hh_l0
    assert isinstance(weight_hh, torch.Tensor)
    assert torch.equal(weight_hh, head["gru.weight_hh_l0"])
    assert "already" in import_models("--student", student_file, "--labels", LIST, "--out", out)[1]


def test_an_x3d_file_is_a_start_for_training_and_no_model(x3d: Weights, tmp_path: Path) -> None:
    counters_left_out = {name: tensor for name, tensor in x3d.items() if not name.endswith("num_batches_tracked")}
    file, out = written(tmp_path / "X3D_M.pyth", {"model_state": counters_left_out}), tmp_path / "start"
    status, reported = import_models(
        "--x3d", file, "--labels", "kick, punch", "--sample-hz", 6, "--image-size", 224, "--out", out
    )
    assert status == 0
    assert "not included because untrained: motion, motion_head, head." in reported
    config = read_config(out)
    assert (config.labels, config.sample_hz, config.image_size) == (("background", "kick", "punch"), 6.0, 224)
    with pytest.raises(
        CheckpointError,
        match="lacks motion, motion_head, head; train it with: cake train --config cake-s --from start",
    ):
        load_checkpoint(out)

    model = Cake(cake_s(LABELS))
    classify = model.head.classify.weight.clone()
    modules = {"trunk": model.trunk, "static_head": model.static_head, "head": model.head}
    assert load_parts(out, model.config.trunk, modules) == ("trunk", "static_head")
    last = "blocks.4.res_blocks.6.branch2.conv_c.weight"
    assert torch.equal(model.trunk.stages[3][6].project.weight, x3d[last][..., 0])  # type: ignore[index]
    assert torch.equal(model.static_head.project.weight, x3d["blocks.5.pool.post_conv.weight"].flatten(1))
    assert torch.equal(model.head.classify.weight, classify)


def test_parts_of_another_architecture_are_refused(tmp_path: Path) -> None:
    tiny = tiny_model()
    save_checkpoint(tmp_path / "tiny", tiny)
    with pytest.raises(CheckpointError, match="another architecture"):
        load_parts(tmp_path / "tiny", cake_s(TINY_LABELS).trunk, {"trunk": tiny.trunk})
    with pytest.raises(CheckpointError, match="missing"):
        load_parts(tmp_path / "tiny", tiny.config.trunk, {"static_head": tiny.trunk})
    save_checkpoint(tmp_path / "trunk", tiny, parts=("trunk",))
    with pytest.raises(CheckpointError, match="holds none of: head"):
        load_parts(tmp_path / "trunk", tiny.config.trunk, {"head": tiny.head})


def deeper(weights: Weights) -> Weights:
    name = "blocks.4.res_blocks.1.branch2.conv_a.weight"
    return weights | {name.replace(".1.branch2", f".{index}.branch2"): weights[name] for index in range(7, 15)}


@pytest.mark.parametrize(
    ("option", "change", "reported"),
    [
        ("--student", lambda s: {k: v for k, v in s.items() if "bn1" not in k}, r"4 missing: hallucinator\.bn1\.bias"),
        ("--student", lambda s: s | {"surprise": torch.zeros(1)}, r"1 unknown: surprise"),
        ("--student", lambda s: s | {"blocks.0.norm.bias": torch.zeros(7)}, r"norm\.bias \(7,\) instead of \(24,\)"),
        ("--student", lambda s: s | {"blocks.0.norm.bias": torch.full((24,), torch.nan)}, "not finite"),
        ("--x3d", lambda s: s, "authors' student: give it with --student"),
        ("--x3d", deeper, r"stages of 3, 5, 11, 15 blocks .* give X3D-XS, X3D-S or X3D-M"),
    ],
    ids=["missing", "unknown", "shape", "nan", "kind", "depth"],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(
    student: Weights, option: str, change: Callable[[Weights], Weights], reported: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "weights.pth", change(student))
    status, err = import_models(option, file, "--labels", LIST, "--out", tmp_path / "out")
    assert status == 2
    assert re.search(reported, err), err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("labels", ["kick,punch", "kick,kick", "", "absent.txt"])
def test_labels_that_do_not_fit_the_head_are_refused(
    student: Weights, head: Weights, labels: str, tmp_path: Path
) -> None:
    files = ["--student", written(tmp_path / "s.pth", student), "--head", written(tmp_path / "h.pth", head)]
    status, err = import_models(*files, "--labels", labels, "--out", tmp_path / "out")
    assert status == 2
    assert re.match("cake: .*(22 classes|differ|no action|no file)", err), err


class Harmful:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (exec, ("raise SystemExit('the code of a weight file ran')",))


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


SMALL = {"weight": torch.arange(600.0)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights at all",
        pickle.dumps({"a": 1}),
        pickle.dumps(Harmful()),
        saved({"weight": Harmful()}),
        saved(torch.nn.Linear(2, 2)),
        saved([1, 2]),
        saved({"lr": 0.1, "model": {"epoch": 3}}),
        saved({}),
        zipped("hello.txt", b"hello"),
        zipped("archive/data.pkl", pickle.dumps(Harmful())),
        saved(SMALL)[:700],
        saved(SMALL, _use_new_zipfile_serialization=False)[:700],
    ],
    ids=[
        "empty",
        "text",
        "pickle",
        "harmful-pickle",
        "harmful-weights",
        "module",
        "list",
        "no-weights",
        "no-keys",
        "other-zip",
        "harmful-zip",
        "cut-zip",
        "cut-legacy",
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "X3D_S.pyth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"\AX3D_S\.pyth [^\n]+\Z"):
        read_foreign_weights(file)


def test_a_file_that_carries_code_ends_the_command_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "X3D_S.pyth"
    file.write_bytes(saved({"weight": Harmful()}))
    status, err = import_models("--x3d", file, "--labels", "kick", "--out", tmp_path / "out")
    assert status == 2
    assert re.fullmatch(r"cake: X3D_S\.pyth .*never run[^\n]+\n", err), err


@pytest.mark.parametrize("zipped_form", [True, False])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_weight_files_are_refused_or_read(data: st.DataObject, zipped_form: bool, tmp_path: Path) -> None:
    content = bytearray(saved(SMALL, _use_new_zipfile_serialization=zipped_form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "damaged.pth"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(CheckpointError):
        assert all(isinstance(tensor, Tensor) for tensor in read_foreign_weights(file).values())


def test_the_files_must_belong_together(tmp_path: Path) -> None:
    file = written(tmp_path / "any.pth", SMALL)
    for files in ([], ["--head", file], ["--x3d", file, "--student", file], ["--x3d", file, "--head", file]):
        status, err = import_models(*files, "--labels", "kick", "--out", tmp_path / "out")
        assert (status, "--student" in err) == (2, True)
