"""Where frames begin and end, in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.rules.websocket_frames import Frames, close_frame

MASK = b"\x01\xfe\x80\x7f"


def frame(size: int, *, opcode: int = 2, masked: bool = False, first: int = 0x80) -> bytes:
    """Return a frame of this many bytes, in the shortest form."""
    if size < 126:
        length, more = size, b""
    elif size < 1 << 16:
        length, more = 126, size.to_bytes(2, "big")
    else:
        length, more = 127, size.to_bytes(8, "big")
    head = bytes([first | opcode, length | (0x80 if masked else 0)]) + more
    return head + (MASK if masked else b"") + b"\x88" * size


def following(*pieces: bytes) -> Frames:
    frames = Frames()
    for piece in pieces:
        frames.follow(piece)
    return frames


SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("masked", [False, True], ids=["to a client", "to a server"])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_whole_with_its_last_byte_and_not_before(size: int, masked: bool) -> None:
    whole = frame(size, masked=masked)
    assert following(whole).between
    assert not following(whole[:-1]).between
    assert not following(whole, whole[:1]).between
    assert not following(whole, whole, whole[:-1]).between
    assert following(whole[:1], whole[1:]).between


@pytest.mark.parametrize(
    ("data", "between"),
    [
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"\x82", False, id="half of the shortest head"),
        pytest.param(b"\x82\x00", True, id="a frame of nothing but a head"),
        pytest.param(b"\x82\x80", False, id="a mask is to come"),
        pytest.param(b"\x82\x80" + MASK, True, id="a masked frame of nothing"),
        pytest.param(b"\x82\x7e\x00\x00", True, id="a longer length than needed"),
        pytest.param(b"\x82\x7e\x00", False, id="half a length"),
        pytest.param(b"\x82\x7f" + bytes(7) + b"\x01x", True, id="the longest form"),
        pytest.param(b"\x82\x7f" + bytes(8)[1:], False, id="the longest form without its end"),
        pytest.param(b"\xc1\x05hello", True, id="a bit of an extension"),
        pytest.param(b"\x02\x01a\x89\x00\x80\x01b", True, id="a ping between fragments"),
    ],
)
def test_the_forms_of_a_head(data: bytes, between: bool) -> None:
    assert following(data).between is between
    assert following(*(data[at : at + 1] for at in range(len(data)))).between is between


@pytest.mark.parametrize("masked", [False, True], ids=["to a client", "to a server"])
@pytest.mark.parametrize(
    ("opcode", "closing"), [(0, False), (1, False), (2, False), (8, True), (9, False), (10, False)]
)
def test_a_close_is_noticed_with_its_head(opcode: int, closing: bool, masked: bool) -> None:
    whole = frame(2, opcode=opcode, masked=masked)
    assert following(whole).closing is closing
    assert following(frame(3, masked=masked) + whole).closing is closing
    assert following(whole[:1], whole[1:]).closing is closing
    assert not following(whole[:1]).closing


FRAMES = st.builds(
    frame,
    st.sampled_from([*SIZES[:-3], 300]),
    opcode=st.sampled_from([0, 1, 2, 9, 10]),
    masked=st.booleans(),
    first=st.sampled_from([0x80, 0x00, 0xC0]),
)


@given(st.lists(FRAMES, max_size=8), st.data())
def test_no_split_changes_where_frames_end(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    ends = {sum(map(len, frames[:count])) for count in range(len(frames) + 1)}
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    found, at = Frames(), 0
    for cut in [*cuts, len(stream)]:
        found.follow(stream[at:cut])
        at = cut
        assert found.between is (cut in ends)
    assert not found.closing


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_a_frame_under_way_is_finished_and_not_a_byte_more(
    frames: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    cut = data.draw(st.integers(0, len(stream)))
    found = following(stream[:cut])
    end = cut
    for piece in (stream[cut : cut + 1], stream[cut + 1 :]):
        end += found.finish(piece)
    assert end == next(each for each in ends if each >= cut)
    assert found.between


@given(st.binary())
def test_bytes_that_are_no_frames_are_borne(data: bytes) -> None:
    following(data, data).finish(data)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 4999])
def test_a_goodbye_is_read_by_others(code: int) -> None:
    plain, masked = close_frame(code), close_frame(code, MASK)
    expected = Frame(Opcode.CLOSE, code.to_bytes(2, "big"))
    assert plain == expected.serialize(mask=False)
    assert following(plain).closing
    assert following(masked).closing
    assert following(masked).between
    assert masked[2:6] == MASK
    assert bytes(a ^ b for a, b in zip(masked[6:], MASK, strict=False)) == expected.data
