"""Errors of the server in words for users of the command line."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cake_client import CakeError

NO_KEY = (
    "The server requires an API key. Set the variable CAKE_KEY to one; the server's operator creates keys with"
    " cake keys create."
)


def refusal(error: CakeError) -> str:
    """One line: the code, what is wrong and what to do, with the labels or models that the server knows."""
    from cake_client import ApiError

    if error.code == "unauthorized" and not os.environ.get("CAKE_KEY"):
        return f"{error.code}: {NO_KEY}"
    known = error.problem.more.get("known") if isinstance(error, ApiError) else None
    if not isinstance(known, list):
        return f"{error.code}: {error.detail}"
    # The API's sentence about the field `known` is replaced by what it holds.
    detail = re.sub(r" `known` lists [^.]+\.", "", error.detail)
    return f"{error.code}: {detail} Known: {', '.join(map(str, known))}."
