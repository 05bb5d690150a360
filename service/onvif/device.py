"""What an ONVIF device reports: its name, its streams and their addresses (Profile S)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

from service.onvif.profiles import Profile
from service.onvif.soap import NAMES, Credentials, NotAuthorizedError, OnvifError, call

_STREAM = "<tt:Stream>RTP-Unicast</tt:Stream><tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport>"


class OnvifDevice:
    """A device at the address of its device service. `now` gives the present time, UTC."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        credentials: Credentials | None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._url = url
        self._credentials = credentials
        self._now = now
        self._clock_offset = timedelta()
        self._media_url = url

    async def open(self) -> None:
        """Read the device's clock, which passwords depend on, and the address that describes its streams.

        Raises NotAuthorizedError, OnvifError.
        """
        self._clock_offset = await self._read_clock_offset()
        found = await self._call(
            self._url, "<tds:GetCapabilities><tds:Category>Media</tds:Category></tds:GetCapabilities>"
        )
        address = found.findtext(".//tt:Media/tt:XAddr", None, NAMES)
        if not address:
            raise OnvifError("it offers no streams (ONVIF Profile S)")
        # At the host that answered: the device may be behind a router and not know its own address, and no other host
        # may get the password.
        self._media_url = urlsplit(self._url)._replace(path=_parts(address).path).geturl()

    async def profiles(self) -> list[Profile]:
        """The video streams, in the device's order. Raises NotAuthorizedError, OnvifError."""
        found = await self._call(self._media_url, "<trt:GetProfiles/>")
        read = (_profile(element) for element in found.iterfind("trt:Profiles", NAMES))
        return [profile for profile in read if profile is not None]

    async def stream_url(self, profile: Profile) -> str:
        """The RTSP address of a stream, with user and password. Raises NotAuthorizedError, OnvifError."""
        found = await self._call(
            self._media_url,
            f"<trt:GetStreamUri><trt:StreamSetup>{_STREAM}</trt:StreamSetup>"
            f"<trt:ProfileToken>{escape(profile.token)}</trt:ProfileToken></trt:GetStreamUri>",
        )
        parts = _parts(found.findtext("trt:MediaUri/tt:Uri", "", NAMES))
        if parts.scheme not in ("rtsp", "rtsps") or not parts.hostname:
            raise OnvifError("it returns no RTSP address")
        if self._credentials is None:
            return urlunsplit(parts)
        login = f"{quote(self._credentials.user, safe='')}:{quote(self._credentials.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))

    async def _call(self, url: str, body: str) -> ElementTree.Element:
        try:
            return await call(self._client, url, body, self._credentials, self._now() + self._clock_offset)
        except NotAuthorizedError:
            if self._credentials is None:
                raise NotAuthorizedError("it requires a user and a password") from None
            raise

    async def _read_clock_offset(self) -> timedelta:
        """How far the device's clock is ahead. Nearly all devices tell the time without a password."""
        try:
            found = await call(self._client, self._url, "<tds:GetSystemDateAndTime/>", None, self._now())
        except NotAuthorizedError:
            return timedelta()
        date, time = found.find(".//tt:UTCDateTime/tt:Date", NAMES), found.find(".//tt:UTCDateTime/tt:Time", NAMES)
        if date is None or time is None:
            return timedelta()
        try:
            year, month, day = (_number(date, name) for name in ("Year", "Month", "Day"))
            hour, minute, second = (_number(time, name) for name in ("Hour", "Minute", "Second"))
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC) - self._now()
        except ValueError:
            return timedelta()


def _parts(url: str) -> SplitResult:
    """Raises OnvifError."""
    try:
        return urlsplit(url.strip())
    except ValueError as error:
        raise OnvifError("it returns an address that is not valid") from error


def _profile(element: ElementTree.Element) -> Profile | None:
    """None for a profile without video."""
    encoder = element.find("tt:VideoEncoderConfiguration", NAMES)
    if encoder is None:
        return None
    resolution = encoder.find("tt:Resolution", NAMES)
    token = element.get("token", "")
    if resolution is None or not token:
        return None
    try:
        width, height = _number(resolution, "Width"), _number(resolution, "Height")
        rate = encoder.findtext("tt:RateControl/tt:FrameRateLimit", None, NAMES)
        rate_hz = float(rate) if rate else None
    except ValueError:
        return None
    return Profile(
        token=token,
        name=element.findtext("tt:Name", token, NAMES),
        source=element.findtext("tt:VideoSourceConfiguration/tt:SourceToken", "", NAMES),
        encoding=encoder.findtext("tt:Encoding", "", NAMES),
        width=width,
        height=height,
        rate_hz=rate_hz,
    )


def _number(element: ElementTree.Element, name: str) -> int:
    """Raises ValueError."""
    return int(element.findtext(f"tt:{name}", "", NAMES))
