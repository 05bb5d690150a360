"""Only sources that are allowed are opened, and what they hold stays secret."""

from pathlib import Path

import pytest

from service.schemas import UploadSource, UrlSource
from service.sources import SourceForbidden, openable


def test_an_upload_is_opened_from_where_it_lies_whatever_its_name_says(tmp_path: Path) -> None:
    opened = openable(UploadSource(filename="../../etc/passwd"), tmp_path / "some-id")
    assert opened.address == str(tmp_path / "some-id")


def test_an_http_address_is_opened_as_it_is(tmp_path: Path) -> None:
    for url in ("http://user:pass@example.org:8080/v.mp4?token=x", "https://example.org/v.mp4"):
        opened = openable(UrlSource(url=url), tmp_path)
        assert opened.address == url
        assert "file" not in opened.options["protocol_whitelist"].split(",")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/v.mp4", "concat:a|b", "/etc/passwd", "http:///v.mp4", ""]
)
def test_any_other_address_is_forbidden(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceForbidden) as caught:
        openable(UrlSource(url=url), tmp_path)
    assert caught.value.code == "source_forbidden"
    assert caught.value.detail.endswith(".")


def test_an_openable_source_does_not_print_its_secrets(tmp_path: Path) -> None:
    assert "hunter2" not in repr(openable(UrlSource(url="http://u:hunter2@example.org/"), tmp_path))
