"""Open the container of one source as often as reading requires, each time in the way that was found to work."""

from collections.abc import Mapping

from av.container import InputContainer

from model.video.camera import is_unencrypted_camera, open_unparsed
from model.video.container import LIVE_OPTIONS, open_container
from model.video.packet_flow import PacketFlow, WatchedBytes
from model.video.rtp_marks import RtpMarks
from model.video.source import ByteStream, is_url

TS_PACKET_BYTES = 188
WITHOUT_EDIT_LIST = {"ignore_editlist": "1"}


class SourceOpener:
    """Opens one source. The containers belong to the caller, who closes them.

    `is_unparsed` says whether FFmpeg's parser is left out, which is done for cameras if possible; then `marks` show the
    last packet of each frame. All methods raise VideoError if the source cannot be opened.

    Args:
        options: options of FFmpeg, which override the safe defaults.
        live: whether the source is live, if its scheme does not say so; None to find out.
    """

    def __init__(
        self, source: str | ByteStream, options: Mapping[str, str], timeout_s: float, *, live: bool | None
    ) -> None:
        self.source, self.timeout_s, self.stated_live = source, timeout_s, live
        self._options = dict(options)
        self.is_unparsed = is_unencrypted_camera(source, self._options)
        self.marks: RtpMarks | None = None

    @property
    def is_file(self) -> bool:
        """Whether the source is a file on this machine."""
        return isinstance(self.source, str) and not is_url(self.source)

    def open(self, flow: PacketFlow, file_format: str | None = None) -> InputContainer:
        """Open the source; `flow` watches its bytes if it is live and pushed."""
        if self.is_unparsed:
            opened = open_unparsed(self.source, self._options, self.timeout_s)
            if opened is not None:
                container, self.marks = opened
                return container
            self.is_unparsed = False
        options = self._options
        if self.stated_live:
            options = LIVE_OPTIONS | options
        if file_format is not None:
            # FFmpeg would wait for enough images to guess a rate, which images do not state, and a camera may be slow.
            options = {"probesize": "32", **options}
        source = self.source
        if self.stated_live and not isinstance(source, str):
            source = WatchedBytes(flow, source)
        return open_container(source, options, self.timeout_s, file_format)

    def open_from_start(self) -> InputContainer:
        """Open the source again after its packets have been counted."""
        return open_container(self.source, self._options, self.timeout_s)

    def open_behind(self, position: int) -> InputContainer:
        """Open a transport stream in a file after the packet at `position`, in bytes."""
        options = {**self._options, "skip_initial_bytes": str(position + TS_PACKET_BYTES)}
        return open_container(self.source, options, self.timeout_s)

    def show_hidden(self, container: InputContainer) -> bool:
        """Ignore edit lists from now on; some writers leave one that hides all frames.

        Returns False if there is no edit list to ignore, or if it is already ignored.
        """
        if not self.is_file or "mov" not in container.format.name or WITHOUT_EDIT_LIST.items() <= self._options.items():
            return False
        self._options.update(WITHOUT_EDIT_LIST)
        return True
