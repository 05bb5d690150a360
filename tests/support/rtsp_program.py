"""GStreamer's RTSP server, as a program for the system's Python: `rtsp_program.py PORT CODEC [CERTIFICATE]`.

Prints its port. CODEC is h264 or jpeg. With a certificate, a PEM file that holds its key too, it speaks TLS.

`/slow` and `/fast` show a moving ball, `/lively` coloured blocks that change five times a second, `/rare` one frame a
minute, `/seldom` a keyframe every 8 s; `/sound` has no video, `/strange` a codec that no decoder knows; the user is
`user`, the password `pass` (digest). SIGUSR1 changes the size of all frames.
"""

import signal
import sys
from collections.abc import Iterator
from itertools import count
from random import Random

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

BALL = (
    "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps=video/x-raw,format=I420,width=64,height=48,"
    "framerate={rate_hz} ! {encoder}"
)
BLOCKS_HZ = 10
LIVELY = (
    "appsrc name=blocks is-live=true do-timestamp=true format=time caps=video/x-raw,format=RGB,width=4,height=4,"
    f"framerate={BLOCKS_HZ}/1 ! videoscale method=nearest-neighbour ! videoconvert"
    " ! video/x-raw,format=I420,width=64,height=48 ! {encoder}"
)
LONG_GOP = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 !"
    " x264enc tune=zerolatency speed-preset=ultrafast key-int-max=200 ! rtph264pay name=pay0 pt=96 config-interval=-1"
)
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 !"
    " rtph264pay name=pay0 pt=96 config-interval=-1",
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=96",
}
SOUND = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay0 pt=0"
STRANGE = "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=10/1 ! rtpgstpay name=pay0 pt=96"


def mounts(codec: str) -> dict[str, str]:
    """The pipeline of each path."""
    rates_hz = {"/slow": "8/1", "/fast": "25/1", "/rare": "1/60"}
    balls = {path: BALL.format(rate_hz=rate_hz, encoder=ENCODERS[codec]) for path, rate_hz in rates_hz.items()}
    return balls | {
        "/lively": LIVELY.format(encoder=ENCODERS[codec]),
        "/seldom": LONG_GOP,
        "/sound": SOUND,
        "/strange": STRANGE,
    }


def change_size(media: GstRtspServer.RTSPMedia) -> bool:
    size = media.get_element().get_by_name("size")
    if size is not None:
        caps = size.get_property("caps").copy()
        caps.set_value("width", 96)
        size.set_property("caps", caps)
    return bool(GLib.SOURCE_CONTINUE)


def on_media(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGUSR1, change_size, media)
    blocks = media.get_element().get_by_name("blocks")
    if blocks is not None:
        pushing = GLib.timeout_add(1000 // BLOCKS_HZ, push_blocks, blocks, count())
        media.connect("unprepared", lambda _: GLib.source_remove(pushing))


def push_blocks(blocks: Gst.Element, numbers: Iterator[int]) -> bool:
    colours = Random(next(numbers) // 2).randbytes(4 * 4 * 3)
    blocks.emit("push-buffer", Gst.Buffer.new_wrapped(colours))
    return bool(GLib.SOURCE_CONTINUE)


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    for path, pipeline in mounts(sys.argv[2]).items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline} )")
        factory.set_shared(True)
        factory.connect("media-configure", on_media)
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("access", "construct"):
            permissions.add_permission_for_role("user", f"media.factory.{permission}", True)
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    server.set_auth(digest(*sys.argv[3:]))
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def digest(certificate: str | None = None) -> GstRtspServer.RTSPAuth:
    auth = GstRtspServer.RTSPAuth()
    if certificate is not None:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest("user", "pass", token)
    return auth


if __name__ == "__main__":
    main()
