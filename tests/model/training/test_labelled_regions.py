"""Labels may refer to a region of a video; the network is then shown only that region."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import DataError, read_annotations
from model.training.progress import Progress
from model.video.preprocess import WHOLE_FRAME, Region
from tests.support.made_videos import write_video

LABELS = {"subset": "training", "annotations": [{"label": "kick", "segment": [1, 2]}]}
QUIET = Progress(lambda *_: None, lambda *_: None, lambda *_: None, lambda *_: None)


def annotate(folder: Path, **entries: object) -> Path:
    (folder / "annotations.json").write_text(json.dumps({"database": entries}))
    return folder


def test_a_network_is_shown_the_region_that_the_labels_are_about(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", count=30)
    annotate(tmp_path, a=LABELS, b={**LABELS, "region": [0, 0, 0.25, "0.25"]})
    whole, region = read_annotations(tmp_path)
    assert (whole.region, region.region) == (WHOLE_FRAME, Region(0, 0, 0.25, 0.25))
    other = replace(region, region=Region(0.5, 0.5, 0.5, 0.5))
    cache = FrameCache(tmp_path / "cache", 10.0, 32, "stretch")
    assert cache.fill([whole, region, other], 1, QUIET) == {}

    def redness(image: object) -> int:
        return int((np.asarray(image).astype(int) @ np.array([1, -1, 0])).min())

    # Each frame has a red block in its upper left corner.
    assert redness(cache.load(region).images_TSS3) > 200
    assert redness(cache.load(whole).images_TSS3) < 50
    assert redness(cache.load(other).images_TSS3) < 50


@pytest.mark.parametrize(
    "region", [[0, 0, 1], [0, 0, 1, "wide"], [0.5, 0, 0.6, 1], [-0.1, 0, 0.5, 1], [0, 0, 0, 1], "door", None]
)
def test_a_region_of_labels_lies_in_the_frame(tmp_path: Path, region: object) -> None:
    annotate(tmp_path, a={**LABELS, "region": region})
    with pytest.raises(DataError, match=r"database\['a'\]\.region: "):
        read_annotations(tmp_path)
