"""A session's regions: which parts of a frame are decoded and analysed, and which parts the network does not see."""

from dataclasses import asdict, replace

from model.config import ModelConfig
from model.video.info import VideoInfo
from model.video.preprocess import WHOLE_FRAME, FrameInput, Region
from service.schemas import FrameRegion, VideoProperties
from service.store.records import SessionRecord


def regions_of(record: SessionRecord) -> tuple[Region, ...]:
    """The parts of the displayed frame that are analysed separately; at least one."""
    found = tuple(Region(each.x, each.y, each.width, each.height) for each in record.regions)
    return found or (WHOLE_FRAME,)


def region_names(record: SessionRecord) -> tuple[str | None, ...]:
    """The name of each of `regions_of`; None for the whole frame."""
    return tuple(region.name for region in record.regions) or (None,)


def describe_video(info: VideoInfo, config: ModelConfig, record: SessionRecord) -> VideoProperties:
    """The properties of a video, with the parts of its frames that reach the network."""
    seen = [FrameRegion(**asdict(each.seen(info.width, info.height))) for each in _frame_inputs(config, record)]
    if record.regions:
        return VideoProperties(**asdict(info), analysed_regions=seen)
    return VideoProperties(**asdict(info), analysed=seen[0])


def missed_of_video(info: VideoInfo, config: ModelConfig, record: SessionRecord) -> list[str]:
    """The parts of a video that the network does not see, as sentences."""
    found = config.rate_warnings(info.rate_hz, record.model)
    for name, each in zip(region_names(record), _frame_inputs(config, record), strict=True):
        found += each.warnings(info.width, info.height, record.model, name)
    return found


def _frame_inputs(config: ModelConfig, record: SessionRecord) -> list[FrameInput]:
    return [replace(config.frame_input, region=region) for region in regions_of(record)]
