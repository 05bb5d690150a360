"""Which stream of a camera suits a model."""

from service.onvif.profiles import Profile, best_profiles


def stream(token: str, width: int, height: int, *, rate_hz: float | None = 25, source: str = "0") -> Profile:
    return Profile(token, token, source, "H264", width, height, rate_hz)


def chosen(*profiles: Profile) -> list[str]:
    return [profile.token for profile in best_profiles(profiles, least_side=112, sample_hz=10)]


def test_the_smallest_stream_with_enough_pixels_is_chosen() -> None:
    assert chosen(stream("main", 2560, 1440), stream("sub", 640, 360), stream("tiny", 176, 96)) == ["sub"]


def test_a_stream_with_too_few_frames_is_left_out_unless_there_is_no_other() -> None:
    slow = stream("slow", 640, 360, rate_hz=5)
    assert chosen(slow, stream("main", 1920, 1080)) == ["main"]
    assert chosen(slow, stream("tiny", 160, 90)) == ["slow"]
    assert chosen(stream("unknown", 640, 360, rate_hz=None), stream("main", 1920, 1080)) == ["unknown"]


def test_the_largest_stream_is_chosen_where_all_are_too_small() -> None:
    assert chosen(stream("tiny", 88, 72), stream("small", 160, 90)) == ["small"]


def test_each_channel_of_a_recorder_is_a_camera() -> None:
    streams = [stream(f"{n}-{size}", size, size, source=str(n)) for n in (1, 2) for size in (1080, 360)]
    assert chosen(*streams) == ["1-360", "2-360"]
