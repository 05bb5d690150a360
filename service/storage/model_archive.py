"""Reads an uploaded checkpoint out of a tar or zip archive, without trusting it.

Nothing is extracted: the few files that make a checkpoint are read into memory by their base names, so that no name in
the archive becomes a path. Nothing is executed: weights come as safetensors, the configuration as JSON. Sizes are
bounded as they are decompressed.
"""

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from model.checkpoints.folders import CONFIG_FILE, WEIGHTS_FILE
from model.checkpoints.reference_scores import SCORES_FILE
from model.config import ConfigError
from service.errors import InvalidModelError, TooLargeError
from service.model_description import describe
from service.server_schemas import ModelInfo
from service.storage.model_files import CARD_FILE

MAX_SMALL_BYTES = 256 * 1024
"""Limit of each file but the weights."""
MAX_DIRECTORY_BYTES = 1024**2
"""Limit of the table of contents of a zip archive, which is read into memory."""
FILES = (CONFIG_FILE, WEIGHTS_FILE, SCORES_FILE, CARD_FILE)
_ZIP_END = struct.Struct("<4s8xI4x2x")
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_UNREADABLE = (*_DAMAGED, NotImplementedError, RuntimeError)
"""The libraries raise these for archives that are damaged, encrypted or of an unsupported kind."""


def read_model(archive: Path, name: str, *, max_bytes: int) -> tuple[ModelInfo, dict[str, bytes]]:
    """The model in an archive, whose weights fit its configuration, and its files by name. Blocks.

    Raises InvalidModelError, TooLargeError beyond `max_bytes` of decompressed content.
    """
    files = read_archive(archive, max_bytes=max_bytes)
    return model_in(files, name, where="archive"), files


def model_in(files: Mapping[str, bytes], name: str, *, where: str) -> ModelInfo:
    """The model of a checkpoint's files, whose weights fit its configuration. Blocks. Raises InvalidModelError."""
    # NumPy takes long to import, and most servers are never sent a model.
    from model.checkpoints.stored import CheckpointError, network_of_bytes
    from model.compiled.stored_layers import read_layers

    missing = [file for file in (CONFIG_FILE, WEIGHTS_FILE) if file not in files]
    if missing:
        raise InvalidModelError(
            f"The {where} has no {' and no '.join(missing)}. A checkpoint folder holds {CONFIG_FILE} and"
            f" {WEIGHTS_FILE}."
        )
    try:
        network = network_of_bytes(name, files[CONFIG_FILE], files[WEIGHTS_FILE], files.get(SCORES_FILE))
        read_layers(network)
        return describe(name, network, "uploaded")
    except (CheckpointError, ConfigError) as error:
        raise InvalidModelError(f"The checkpoint cannot be loaded: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidModelError(f"{CONFIG_FILE} has an invalid value: {where}: {first['msg']}.") from error


def read_archive(archive: Path, *, max_bytes: int) -> dict[str, bytes]:
    """The files of a checkpoint in an archive, by base name; others are left out. Raises as `read_model` does."""
    found: dict[str, bytes] = {}
    with archive.open("rb") as file:
        try:
            for member, content in _members(file, max_bytes):
                if member in found:
                    raise InvalidModelError(f"The archive has more than one {member}. Send one checkpoint folder.")
                found[member] = content
        except (InvalidModelError, TooLargeError):
            raise
        except _UNREADABLE as error:
            raise InvalidModelError(
                f"The body cannot be read as a tar or zip archive ({error or type(error).__name__})."
            ) from error
    return found


def _members(file: BinaryIO, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    magic = file.read(4)
    file.seek(0)
    if magic == b"PK\3\4":
        return _zip_members(file, max_bytes)
    plain = gzip.GzipFile(fileobj=file) if magic.startswith(b"\x1f\x8b") else file
    return _tar_members(_Bounded(plain, max_bytes), max_bytes)


def _tar_members(file: "_Bounded", max_bytes: int) -> Iterator[tuple[str, bytes]]:
    # As a stream: members that are skipped count as well.
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            name = _wanted(member.name)
            if name is not None and member.isreg():
                check_size(name, member.size, max_bytes)
                content = archive.extractfile(member)
                assert content is not None
                yield name, content.read()


def _zip_members(file: BinaryIO, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = _wanted(member.filename)
            if name is not None and not member.is_dir():
                check_size(name, member.file_size, max_bytes)
                with archive.open(member) as content:
                    # It decompresses no more than the size that it states.
                    yield name, content.read()


def _wanted(path: str) -> str | None:
    """The file of a checkpoint that a member is: at the top, or in one folder."""
    *folders, name = path.replace("\\", "/").removeprefix("./").split("/")
    is_near = len(folders) <= 1 and not {"", "..", "."}.intersection(folders)
    return name if is_near and name in FILES else None


def check_size(name: str, size_bytes: int, max_bytes: int) -> None:
    """Raises TooLargeError for a file of a checkpoint that is larger than it may be."""
    limit = max_bytes if name == WEIGHTS_FILE else MAX_SMALL_BYTES
    if size_bytes > limit:
        ask = " Ask the operator to raise CAKE_MAX_MODEL_BYTES." if name == WEIGHTS_FILE else ""
        raise TooLargeError(f"{name} has {size_bytes} bytes, more than {limit}.{ask}")


def _check_directory(file: BinaryIO) -> None:
    """Raise InvalidModelError for a zip archive of very many members, before all of them are listed."""
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(max(0, size_bytes - _ZIP_END.size - 0xFFFF))
    end = file.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) - at < _ZIP_END.size or _ZIP_END.unpack_from(end, at)[1] > MAX_DIRECTORY_BYTES:
        raise InvalidModelError("The zip archive is damaged, or has too many members. Send only a checkpoint folder.")
    file.seek(0)


class _Bounded(io.RawIOBase):
    """Reads at most `max_bytes` and a little, then raises TooLargeError."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes + 2 * MAX_SMALL_BYTES + tarfile.RECORDSIZE

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise TooLargeError(
                f"The archive holds more than {self._max_bytes} bytes. Send only a checkpoint folder, or ask the"
                " operator to raise CAKE_MAX_MODEL_BYTES."
            )
        return data
