"""Cut a region out of a decoded frame."""

from fractions import Fraction

from av.error import FFmpegError
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from model.video.errors import VideoError
from model.video.preprocess import Region

# FFmpeg's filter requires one; the times of cut frames are not used.
TIME_BASE = Fraction(1, 1000)


class Cropper:
    """Crops one region out of frames of any pixel format. The cropped frame shares the memory of the whole one."""

    def __init__(self) -> None:
        self._cut_as: tuple[str, int, int, Region] | None = None
        self._source: FilterContext | None = None
        self._sink: FilterContext | None = None
        self._graph: Graph | None = None

    def cut(self, frame: VideoFrame, region: Region) -> VideoFrame:
        """Return the region of a stored frame, to the pixel. Raises VideoError."""
        cut_as = (frame.format.name, frame.width, frame.height, region)
        try:
            if cut_as != self._cut_as:
                self._prepare(frame, region)
                self._cut_as = cut_as
            assert self._source is not None
            assert self._sink is not None
            self._source.push(frame)
            cut = self._sink.pull()
        except FFmpegError as error:
            detail = f"Regions of the pixel format {frame.format.name} are not supported. Send the video as H.264."
            raise VideoError("source_unsupported", detail) from error
        assert isinstance(cut, VideoFrame)
        return cut

    def _prepare(self, frame: VideoFrame, region: Region) -> None:
        left, top, width, height = region.pixels(frame.width, frame.height)
        self._graph = Graph()
        self._graph.threads = 1
        self._source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=TIME_BASE
        )
        crop = self._graph.add("crop", f"w={width}:h={height}:x={left}:y={top}:exact=1")
        self._sink = self._graph.add("buffersink")
        self._source.link_to(crop)
        crop.link_to(self._sink)
        self._graph.configure()
