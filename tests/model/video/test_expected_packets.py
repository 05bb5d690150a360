"""The expectation for a camera's packets follows the light, and differs by position."""

import math

import pytest

from model.video.expected_packets import CodedPacket, ExpectedPackets


def learnt(sizes_by_position: dict[int, int], *, groups: int = 50, quantiser: int | None = 26) -> ExpectedPackets:
    expected = ExpectedPackets()
    for _ in range(groups):
        for position, size_bytes in sizes_by_position.items():
            expected.learn(CodedPacket(size_bytes, quantiser, position), is_kept=False)
    return expected


def test_the_first_packet_is_as_expected() -> None:
    assert ExpectedPackets().deviation(CodedPacket(1000, 26, 1)) == (0, 0)


def test_a_packet_is_compared_with_those_at_its_position() -> None:
    expected = learnt({1: 400, 2: 100, 3: 200})
    for position, size_bytes in ((1, 400), (2, 100), (3, 200)):
        assert expected.deviation(CodedPacket(size_bytes, 26, position)).size == pytest.approx(0, abs=0.1)
    assert expected.deviation(CodedPacket(400, 26, 2)).size == pytest.approx(math.log(4), abs=0.1)


def test_a_coarser_quantiser_deviates() -> None:
    deviation = learnt({1: 100, 2: 100}).deviation(CodedPacket(100, 30, 2))
    assert deviation == pytest.approx((0, 4), abs=0.01)


def test_a_quantiser_that_cannot_be_read_does_not_deviate() -> None:
    assert learnt({1: 100}).deviation(CodedPacket(100, None, 1)).quantiser == 0
    assert learnt({1: 100}, quantiser=None).deviation(CodedPacket(200, None, 1)).quantiser == 0


def test_the_expectation_follows_decoded_packets_and_kept_ones_only_a_little() -> None:
    decoded, kept = learnt({1: 100}), learnt({1: 100})
    for _ in range(1000):
        decoded.learn(CodedPacket(300, 26, 1), is_kept=False)
        kept.learn(CodedPacket(300, 26, 1), is_kept=True)
    assert decoded.deviation(CodedPacket(300, 26, 1)).size == pytest.approx(0, abs=0.05)
    assert kept.deviation(CodedPacket(300, 26, 1)).size > math.log(3) - 0.1


def test_kept_packets_lower_the_expectation() -> None:
    expected = learnt({1: 300})
    for _ in range(1000):
        expected.learn(CodedPacket(100, 26, 1), is_kept=True)
    assert expected.deviation(CodedPacket(300, 26, 1)).size > math.log(3) - 0.1
