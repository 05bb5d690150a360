"""An uploaded archive is not trusted: no paths, no code, no more than the limit, and only valid weights."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model.checkpoints.arrays import arrays_of_bytes, bytes_of_arrays
from model.checkpoints.reference_scores import SCORES_FILE, parse_reference_scores, write_reference_scores
from model.checkpoints.stored import checkpoint_version
from model.score_drift import histogram_of
from service.errors import InvalidModelError, ServiceError, TooLargeError
from service.storage.model_archive import MAX_DIRECTORY_BYTES, read_archive, read_model

LIMIT = 64 * 1024**2
FILES = ("model.json", "model.safetensors", "README.md")


def files_of(model: Path) -> dict[str, bytes]:
    return {name: (model / name).read_bytes() for name in FILES if (model / name).is_file()}


def tar_of(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def refused(folder: Path, content: bytes, limit: int = LIMIT) -> ServiceError:
    with pytest.raises((InvalidModelError, TooLargeError)) as caught:
        read_model(written(folder, content), "gate", max_bytes=limit)
    return caught.value


def test_tar_gzip_and_zip_with_or_without_a_folder_are_the_same_model(model: Path, tmp_path: Path) -> None:
    files = {**files_of(model), "README.md": b"# Card"}
    inside = {f"tiny/{name}": content for name, content in files.items()}
    for content in (
        tar_of(files),
        tar_of(inside, "w:gz"),
        zip_of(inside),
        zip_of({f"./{n}": c for n, c in files.items()}),
    ):
        info, found = read_model(written(tmp_path, content), "gate", max_bytes=LIMIT)
        assert found == files
        assert (info.version, info.name, info.origin) == (checkpoint_version(model), "gate", "uploaded")


def test_scores_of_calibration_come_along_unless_they_are_damaged(model: Path, tmp_path: Path) -> None:
    write_reference_scores(tmp_path, {"kick": histogram_of([0.01, 0.3])})
    scores = (tmp_path / SCORES_FILE).read_bytes()
    _, found = read_model(written(tmp_path, tar_of({**files_of(model), SCORES_FILE: scores})), "gate", max_bytes=LIMIT)
    assert found[SCORES_FILE] == scores
    assert parse_reference_scores(scores) == {"kick": histogram_of([0.01, 0.3])}
    other_bins = scores.replace(b"0.02", b"0.03")
    assert parse_reference_scores(other_bins) == {}, "another version wrote it"
    for damaged in (b"", b"[]", b"{}", scores.replace(b"[1,", b"[-1,"), scores.replace(b"[1, ", b"[")):
        assert "scores.json" in refused(tmp_path, tar_of({**files_of(model), SCORES_FILE: damaged})).detail


def test_no_member_becomes_a_path(model: Path, tmp_path: Path) -> None:
    hostile = {"../../model.json": b"{}", "/model.safetensors": b"", "a/b/README.md": b"", "C:\\x\\model.json": b"{}"}
    for content in (tar_of({**hostile, **files_of(model)}), zip_of({**hostile, **files_of(model)})):
        found = read_archive(written(tmp_path, content), max_bytes=LIMIT)
        assert found == files_of(model)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_link_is_not_a_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in FILES[:2]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    assert "has no model.json and no model.safetensors" in refused(tmp_path, buffer.getvalue()).detail


def test_two_of_a_file_are_refused(model: Path, tmp_path: Path) -> None:
    twice = {**files_of(model), "other/model.json": b"{}"}
    assert "more than one model.json" in refused(tmp_path, tar_of(twice)).detail


def test_an_archive_that_is_too_large_when_decompressed_is_rejected(model: Path, tmp_path: Path) -> None:
    zeros = bytes(4 * 1024**2)
    for content in (
        tar_of({"model.safetensors": zeros}, "w:gz"),
        zip_of({"model.safetensors": zeros}),
        tar_of({"other": zeros}, "w:gz"),
        tar_of({"model.json": zeros}),
    ):
        assert refused(tmp_path, content, limit=1024**2).code == "too_large"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 but no more", b"\x1f\x8b\x08 but no more"])
def test_a_file_that_is_not_an_archive_is_rejected(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content).code == "invalid_model"


def test_archives_that_end_early_are_refused(model: Path, tmp_path: Path) -> None:
    for content in (tar_of(files_of(model)), tar_of(files_of(model), "w:gz"), zip_of(files_of(model))):
        assert refused(tmp_path, content[: len(content) // 2]).code == "invalid_model"


def test_a_zip_of_very_many_members_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    content = bytearray(zip_of({"model.json": b"{}"}))
    at = content.rfind(b"PK\5\6") + 12
    content[at : at + 4] = (MAX_DIRECTORY_BYTES + 1).to_bytes(4, "little")
    assert "too many members" in refused(tmp_path, bytes(content)).detail


def test_weights_that_are_not_finite_are_refused_with_the_name_of_their_tensor(model: Path, tmp_path: Path) -> None:
    files = files_of(model)
    weights = arrays_of_bytes(files["model.safetensors"])
    name = next(name for name, array in weights.items() if array.dtype == np.float32)
    weights[name] = np.full_like(weights[name], np.nan)
    problem = refused(tmp_path, tar_of({**files, "model.safetensors": bytes_of_arrays(weights)}))
    assert name in problem.detail
    assert "NaN" in problem.detail


def test_weights_that_do_not_fit_the_configuration_are_refused(model: Path, tmp_path: Path) -> None:
    files = files_of(model)
    weights = arrays_of_bytes(files["model.safetensors"])
    weights.pop(next(iter(weights)))
    problem = refused(tmp_path, tar_of({**files, "model.safetensors": bytes_of_arrays(weights)}))
    assert "cannot be loaded" in problem.detail
    for config in (b"[]", b"{}", b"\xff", b'{"name": "x"}'):
        assert "model.json" in refused(tmp_path, tar_of({**files, "model.json": config})).detail
    endless = files["model.json"].replace(b'"refractory_s": 0.2', b'"refractory_s": Infinity')
    assert "refractory_s" in refused(tmp_path, tar_of({**files, "model.json": endless})).detail
