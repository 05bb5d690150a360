"""Reads a checkpoint from a folder of the bucket that the operator has named for models."""

import re

from service.errors import InvalidRequestError, StoreUnavailableError
from service.storage.model_archive import FILES, check_size
from service.storage.objects import Objects

_FOLDERS = r"(/[\w.=+-]+)*"


async def read_checkpoint(url: str, *, bucket_url: str | None, max_bytes: int) -> dict[str, bytes]:
    """The files of a checkpoint that lie directly below `s3://BUCKET/PREFIX`, by their names.

    Only what lies in `bucket_url` is read, since it is read with the credentials of the server.

    Raises:
        InvalidRequestError: The folder is not in that bucket, or there is none.
        TooLargeError: The weights have more than `max_bytes`, or another file is too large.
        StoreUnavailableError: The bucket cannot be read.
    """
    if bucket_url is None:
        raise InvalidRequestError(
            "This server does not read models from a bucket. The operator can name one in CAKE_MODEL_BUCKET."
        )
    folder, root = url.rstrip("/"), bucket_url.rstrip("/")
    rest = folder.removeprefix(root)
    if not folder.startswith(root) or not re.fullmatch(_FOLDERS, rest) or {".", ".."} & set(rest.split("/")):
        raise InvalidRequestError(f"url: must be a folder in {root}, the bucket of CAKE_MODEL_BUCKET.")
    objects = Objects.of_bucket(folder)
    found: dict[str, bytes] = {}
    try:
        for name in FILES:
            try:
                size_bytes = await objects.size_bytes(name)
            except FileNotFoundError:
                continue
            check_size(name, size_bytes, max_bytes)
            found[name] = await objects.read_part(name, 0, size_bytes) if size_bytes else b""
    except StoreUnavailableError as error:
        raise StoreUnavailableError(
            "The bucket with the models cannot be read. Retry; the server's log has the reason."
        ) from error
    return found
