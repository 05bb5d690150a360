"""What callers may name as a source, and how a source is shown."""

import re

_USERINFO_OR_QUERY = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<query>[?#][^\s\"'<>]*)?"
)


def redact(text: str) -> str:
    """`text` with every URL in it cut down to scheme, host and path: no user, password, query or fragment."""
    return _USERINFO_OR_QUERY.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)
