"""Read the quantiser of H.264 frames from the headers of their slices, without decoding them.

Only the first bytes of each NAL unit are looked at. For damaged or rare data (slice groups, fields, B slices), no
quantiser is returned. Names follow the syntax elements of ITU-T H.264, clause 7.3.
"""

import re
from dataclasses import dataclass
from typing import Final

# Parameter sets with scaling lists are the longest of these headers.
MAX_HEADER_BYTES = {1: 64, 5: 64, 7: 512, 8: 512}
SLICE, IDR_SLICE, SPS, PPS = 1, 5, 7, 8
# Maximum length of lists in headers that a decoder accepts.
MAX_ITEMS = 64
WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
P_SLICES, I_SLICES = frozenset({0, 3}), frozenset({2, 4})
_START_CODE = re.compile(rb"\x00\x00\x01")


class _UnreadableError(Exception):
    """A header ends too early, or holds what is not supported."""


@dataclass(frozen=True)
class _Sequence:
    """The fields of a sequence parameter set that slice headers depend on."""

    has_planes: bool
    has_chroma: bool
    frame_num_bits: int
    order_type: int
    order_bits: int
    is_order_fixed: bool


@dataclass(frozen=True)
class _Picture:
    """The fields of a picture parameter set that slice headers depend on."""

    sequence_id: int
    has_cabac: bool
    has_field_order: bool
    references: int
    is_weighted: bool
    quantiser: int
    has_redundant: bool


class H264Quantiser:
    """Follows the parameter sets of one stream."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, _Picture] = {}

    def read(self, data: bytes) -> int | None:
        """Return the quantiser (0 to 51) with which the first slice of a frame begins, in data with start codes.

        Also processes parameter sets that precede it, or that come alone. None if there is no slice, or if it cannot be
        read.
        """
        for found in _START_CODE.finditer(data):
            begin = found.end()
            if begin >= len(data):
                break
            kind = data[begin] & 31
            limit = MAX_HEADER_BYTES.get(kind)
            if limit is None:
                continue
            bits = _Bits(_until_next(data[begin + 1 : begin + 1 + limit]))
            try:
                if kind in (SLICE, IDR_SLICE):
                    return self._quantiser(bits, is_idr=kind == IDR_SLICE, is_reference=bool(data[begin] & 0x60))
                self._take(bits, kind)
            except _UnreadableError:
                if kind in (SLICE, IDR_SLICE):
                    return None
        return None

    def _take(self, bits: "_Bits", kind: int) -> None:
        """Keep a parameter set; if it cannot be read, the one that it replaces is also forgotten."""
        if kind == SPS:
            profile, _, _ = bits.take(8), bits.take(8), bits.take(8)
            number = _id(bits)
            self._sequences.pop(number, None)
            self._sequences[number] = _sequence(bits, profile)
        else:
            number = _id(bits)
            self._pictures.pop(number, None)
            self._pictures[number] = _picture(bits)

    def _quantiser(self, bits: "_Bits", *, is_idr: bool, is_reference: bool) -> int:
        bits.unsigned()  # first_mb_in_slice
        kind = bits.unsigned() % 5
        picture = self._pictures.get(_id(bits))
        sequence = None if picture is None else self._sequences.get(picture.sequence_id)
        if picture is None or sequence is None or kind not in P_SLICES | I_SLICES:
            raise _UnreadableError
        bits.take(2 * sequence.has_planes + sequence.frame_num_bits)
        if is_idr:
            bits.unsigned()
        _skip_order(bits, sequence, picture)
        if picture.has_redundant:
            bits.unsigned()
        if kind in P_SLICES:
            _skip_prediction(bits, sequence, picture)
        if is_reference:
            _skip_marking(bits, is_idr=is_idr)
        if picture.has_cabac and kind in P_SLICES:
            bits.unsigned()  # cabac_init_idc
        quantiser = picture.quantiser + bits.signed()
        if not 0 <= quantiser <= 51:
            raise _UnreadableError
        return quantiser


class _Bits:
    """The bits of a NAL unit's beginning; reading past its end raises _UnreadableError."""

    def __init__(self, data: bytes) -> None:
        unescaped = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._left = 8 * len(unescaped)
        self._value = int.from_bytes(unescaped)

    def take(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self._left -= count
        if self._left < 0:
            raise _UnreadableError
        taken = self._value >> self._left
        self._value &= (1 << self._left) - 1
        return taken

    def unsigned(self) -> int:
        """An unsigned Exp-Golomb code."""
        zeros = self._left - self._value.bit_length()
        if zeros > 31:
            raise _UnreadableError
        self.take(zeros)
        return self.take(zeros + 1) - 1

    def signed(self) -> int:
        """A signed Exp-Golomb code."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _until_next(data: bytes) -> bytes:
    end = data.find(b"\x00\x00\x01")
    return data if end < 0 else data[:end]


def _id(bits: _Bits) -> int:
    number = bits.unsigned()
    if number > 255:
        raise _UnreadableError
    return number


def _sequence(bits: _Bits, profile: int) -> _Sequence:
    chroma, has_planes = 1, False
    if profile in WITH_CHROMA_FORMAT:
        chroma = bits.unsigned()
        has_planes = chroma == 3 and bool(bits.take(1))
        bits.unsigned(), bits.unsigned(), bits.take(1)  # bit depths; qpprime_y_zero_transform_bypass_flag
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    frame_num_bits = bits.unsigned() + 4
    order_type, order_bits, is_order_fixed = bits.unsigned(), 0, False
    if order_type == 0:
        order_bits = bits.unsigned() + 4
    elif order_type == 1:
        is_order_fixed = bool(bits.take(1))
        bits.signed(), bits.signed()
        for _ in range(_count(bits.unsigned(), 255)):
            bits.signed()
    bits.unsigned(), bits.take(1), bits.unsigned(), bits.unsigned()  # references, gaps, width, height
    if not bits.take(1) or max(frame_num_bits, order_bits) > 16:
        raise _UnreadableError
    return _Sequence(has_planes, chroma != 0 and not has_planes, frame_num_bits, order_type, order_bits, is_order_fixed)


def _picture(bits: _Bits) -> _Picture:
    sequence_id = _id(bits)
    has_cabac, has_field_order = bool(bits.take(1)), bool(bits.take(1))
    if bits.unsigned():
        raise _UnreadableError  # slice groups
    references = _count(bits.unsigned() + 1)
    bits.unsigned()
    is_weighted, _ = bool(bits.take(1)), bits.take(2)
    quantiser = 26 + bits.signed()
    bits.signed(), bits.signed(), bits.take(2)  # other quantisers, deblocking, constrained intra
    return _Picture(
        sequence_id, has_cabac, has_field_order, references, is_weighted, quantiser, has_redundant=bool(bits.take(1))
    )


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    scale = 8
    for _ in range(size):
        scale = (scale + bits.signed()) % 256
        if scale == 0:
            return


def _skip_order(bits: _Bits, sequence: _Sequence, picture: _Picture) -> None:
    """Skip the picture order count."""
    bits.take(sequence.order_bits)
    if sequence.order_type == 0 and picture.has_field_order:
        bits.signed()
    if sequence.order_type == 1 and not sequence.is_order_fixed:
        bits.signed()
        if picture.has_field_order:
            bits.signed()


def _skip_prediction(bits: _Bits, sequence: _Sequence, picture: _Picture) -> None:
    """Skip the number of references, their order and their weights."""
    references = _count(bits.unsigned() + 1) if bits.take(1) else picture.references
    if bits.take(1):
        for _ in range(MAX_ITEMS):
            if bits.unsigned() == 3:
                break
            bits.unsigned()
    if picture.is_weighted:
        bits.unsigned()
        if sequence.has_chroma:
            bits.unsigned()
        for _ in range(references):
            if bits.take(1):
                bits.signed(), bits.signed()
            if sequence.has_chroma and bits.take(1):
                bits.signed(), bits.signed(), bits.signed(), bits.signed()


def _skip_marking(bits: _Bits, *, is_idr: bool) -> None:
    """Skip the marking of reference pictures."""
    if is_idr:
        bits.take(2)
        return
    if not bits.take(1):
        return
    for _ in range(MAX_ITEMS):
        operation = bits.unsigned()
        if operation == 0:
            return
        for _ in range({3: 2, 5: 0}.get(operation, 1)):
            bits.unsigned()
    raise _UnreadableError


def _count(number: int, limit: int = MAX_ITEMS) -> int:
    if number > limit:
        raise _UnreadableError
    return number
