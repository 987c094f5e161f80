"""Frames: what is damaged, foreign or too long is dropped and counted; what is sound comes out as it went in."""

from __future__ import annotations

import ast
import json
from binascii import crc32
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import firmware
from firmware_bridge.firmware import wire

FRAMES = json.loads((Path(__file__).parent / "golden_frames.json").read_text())
KINDS = {
    "hello": 1,
    "welcome": 2,
    "arm": 3,
    "lease": 4,
    "status": 5,
    "disarm": 6,
    "trip": 7,
    "reset": 8,
    "maintenance": 9,
}
LEASE = wire.lease(7, 1000, 250, 437, 7, 0, 0)

U8, U16, U32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
I16 = st.integers(-32768, 32767)
MESSAGES = st.one_of(
    st.builds(lambda *a: (wire.hello(*a), (1, wire.HELLO, *a)), U32, U32),
    st.builds(lambda *a: (wire.welcome(*a), (1, wire.WELCOME, *a)), U32, U32, U32, U32, U16, U8),
    st.builds(lambda *a: (wire.arm(*a), (1, wire.ARM, *a)), U32, U32, U32, U16, U16, U32, U32),
    st.builds(lambda *a: (wire.lease(*a), (1, wire.LEASE, *a)), U32, U32, U16, U16, U8, U16, U8),
    st.builds(
        lambda *a: (wire.status(*a), (1, wire.STATUS, *a)),
        *(U32, U32, U32, U8, U8, U8, U8, U16, U16, U16, U16, U8, I16, U16, U8, I16, U16, U8),
    ),
    st.builds(lambda *a: (wire.disarm(*a), (1, wire.DISARM, *a)), U32),
    st.builds(lambda *a: (wire.trip(*a), (1, wire.TRIP, *a)), U32),
    st.builds(lambda *a: (wire.reset(*a), (1, wire.RESET, *a)), U32, U32, U32, U8),
    st.builds(lambda *a: (wire.maintenance(*a), (1, wire.MAINTENANCE, *a)), U32, U32, U32),
)


def cobs(data: bytes) -> bytes:
    """Byte by byte, as the paper has it (no block of ours is long enough for the code 0xFF)."""
    out, block = bytearray(), bytearray()
    for byte in data:
        if byte:
            block.append(byte)
        else:
            out += bytes([len(block) + 1]) + block
            block.clear()
    return bytes(out + bytes([len(block) + 1]) + block)


def framed(payload: bytes) -> bytes:
    """A frame with a right CRC round any payload."""
    return cobs(payload + pack("<I", crc32(payload))) + b"\0"


# --- what is broken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", range(len(LEASE) - 1))
def test_any_flipped_bit_drops_the_frame_and_the_next_one_is_read(at: int, bit: int) -> None:
    damaged = bytearray(LEASE)
    damaged[at] ^= 1 << bit
    decoder = wire.Decoder()
    messages = decoder.feed(bytes(damaged) + wire.trip(8))
    assert [message[1] for message in messages] == [wire.TRIP]
    assert decoder.bad >= 1


@pytest.mark.parametrize("length", range(1, len(LEASE) - 1))
def test_a_frame_cut_short_is_bad(length: int) -> None:
    decoder = wire.Decoder()
    assert decoder.feed(LEASE[:length] + b"\0") == []
    assert decoder.bad == 1


@pytest.mark.parametrize(
    "block",
    [b"\x01", b"\x02", b"\x05abcd", b"\x01\x01\x01\x01", b"\xff" * 20, b"\x40" + b"x" * 63, b"\x03\x11\x22\x02\x33"],
    ids=bytes.hex,
)
def test_what_is_no_frame_is_bad(block: bytes) -> None:
    decoder = wire.Decoder()
    assert decoder.feed(block + b"\0") == []
    assert (decoder.bad, decoder.other_version) == (1, 0)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x06", b"\x01\x06\x00\x00\x00"], ids=bytes.hex)
def test_a_right_crc_round_too_little_is_bad(payload: bytes) -> None:
    decoder = wire.Decoder()
    assert decoder.feed(framed(payload)) == []
    assert (decoder.bad, decoder.other_version) == (1, 0)


@pytest.mark.parametrize("kind", [0, 10, 255])
def test_an_unknown_kind_is_bad(kind: int) -> None:
    decoder = wire.Decoder()
    assert decoder.feed(framed(pack("<BBI", 1, kind, 5))) == []
    assert decoder.bad == 1


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("more", [-1, 1])
def test_a_body_of_another_size_is_bad(kind: int, more: int) -> None:
    size = {1: 10, 2: 21, 3: 26, 4: 18, 5: 37, 6: 6, 7: 6, 8: 15, 9: 14}[kind] + more
    decoder = wire.Decoder()
    assert decoder.feed(framed(bytes([1, kind]) + bytes(size - 2))) == []
    assert decoder.bad == 1


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_dropped_and_counted_apart(version: int) -> None:
    decoder = wire.Decoder()
    assert decoder.feed(framed(pack("<BBI", version, wire.TRIP, 5))) == []
    assert (decoder.bad, decoder.other_version, decoder.version_seen) == (0, 1, version)


def test_an_endless_frame_is_dropped_once_and_not_kept() -> None:
    decoder = wire.Decoder()
    for _ in range(1000):
        assert decoder.feed(b"x" * 50) == []
        assert len(decoder._rest) <= wire.MAX_FRAME
    assert decoder.bad == 1
    assert decoder.feed(LEASE[:10]) == []  # still inside it
    assert decoder.feed(b"\0" + LEASE) == [(1, wire.LEASE, 7, 1000, 250, 437, 7, 0, 0)]
    assert decoder.bad == 1


def test_the_end_of_an_endless_frame_is_no_frame_of_its_own_and_then_all_is_as_before() -> None:
    decoder = wire.Decoder()
    assert decoder.feed(b"x" * 100) == []
    assert decoder.feed(LEASE) == []  # up to its zero it belongs to what was dropped
    assert decoder.bad == 1
    assert decoder.feed(LEASE[:9]) == []  # and a frame in two pieces is waited for again
    assert len(decoder.feed(LEASE[9:])) == 1
    assert decoder.bad == 1


@pytest.mark.parametrize(("length", "kept"), [(wire.MAX_FRAME, True), (wire.MAX_FRAME + 1, False)])
def test_the_longest_frame_that_is_waited_for(length: int, kept: bool) -> None:
    decoder = wire.Decoder()
    decoder.feed(b"x" * length)
    assert decoder.bad == (0 if kept else 1)
    decoder.feed(b"\0")
    assert decoder.bad == 1
    whole = wire.Decoder()
    whole.feed(b"x" * length + b"\0")
    assert whole.bad == 1


def test_the_longest_frame_is_still_looked_into() -> None:
    """A newer version may have longer messages; this one at least says which it is."""
    decoder = wire.Decoder()
    assert decoder.version_seen == wire.VERSION
    frame = framed(b"\x02" * (wire.MAX_FRAME - 5))
    assert len(frame) == wire.MAX_FRAME + 1
    decoder.feed(frame)
    assert (decoder.bad, decoder.other_version, decoder.version_seen) == (0, 1, 2)


def test_a_sound_frame_longer_than_any_of_ours_is_bad() -> None:
    decoder = wire.Decoder()
    assert decoder.feed(framed(b"\x01\x06" + bytes(60))) == []
    assert decoder.bad == 1


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_make_it_raise_or_grow(chunks: list[bytes]) -> None:
    decoder = wire.Decoder()
    for chunk in chunks:
        decoder.feed(chunk)
        assert len(decoder._rest) <= wire.MAX_FRAME


@given(st.binary(max_size=400), st.data())
def test_how_bytes_are_cut_does_not_matter(noise: bytes, data: st.DataObject) -> None:
    stream = data.draw(st.permutations([noise, LEASE, wire.trip(9)])).copy()
    whole = b"".join(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    at_once, in_pieces = wire.Decoder(), wire.Decoder()
    expected = at_once.feed(whole)
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        got += in_pieces.feed(whole[begin:end])
    assert got == expected
    assert (in_pieces.bad, in_pieces.other_version) == (at_once.bad, at_once.other_version)


def test_noise_before_a_hello_does_not_swallow_it() -> None:
    decoder = wire.Decoder()
    assert decoder.feed(LEASE[:9] + wire.hello(1, 5)) == [(1, wire.HELLO, 1, 5)]


# --- what is sound -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: f"{row['message']}-{row['note']}")
def test_golden_frames(row: dict[str, object]) -> None:
    arguments = row["arguments"]
    assert isinstance(arguments, list)
    frame = bytes.fromhex(str(row["frame"]))
    assert getattr(wire, str(row["message"]))(*arguments) == frame
    decoder = wire.Decoder()
    assert decoder.feed(frame) == [(1, KINDS[str(row["message"])], *arguments)]
    assert decoder.bad == 0


def test_there_is_a_golden_frame_of_every_message() -> None:
    assert {row["message"] for row in FRAMES} == set(KINDS)


@given(MESSAGES)
def test_what_goes_in_comes_out(pair: tuple[bytes, tuple[int, ...]]) -> None:
    frame, fields = pair
    assert len(frame) - 2 <= wire.MAX_FRAME
    decoder = wire.Decoder()
    assert decoder.feed(frame) == [fields]
    assert decoder.bad == 0


@given(st.binary(max_size=57))
def test_framing_is_cobs_with_crc_32(payload: bytes) -> None:
    assert wire.frame(payload) == framed(payload)


def test_cobs_of_the_reference() -> None:
    assert cobs(bytes.fromhex("11220033")) == bytes.fromhex("0311220233")


@pytest.mark.parametrize(
    ("seq", "last", "is_newer"),
    [
        (1, 0, True),
        (0, 0, False),
        (0, 1, False),
        (0, 0xFFFFFFFF, True),
        (0xFFFFFFFF, 0, False),
        (0x7FFFFFFF, 0, True),
        (0x80000000, 0, False),
    ],
)
def test_sequence_numbers_wrap(seq: int, last: int, is_newer: bool) -> None:
    assert wire.newer(seq, last) is is_newer


def test_the_numbers_are_part_of_the_wire() -> None:
    """A firmware may be older than the host: what a number means never changes."""
    assert (wire.VERSION, wire.MAX_FRAME, wire.NO_READING, wire.NO_CHANNEL) == (1, 64, -32768, 255)
    assert (wire.PUMP_ENABLE, wire.VENT_CLOSED, wire.DUMP_CLOSED, wire.ALL_FLAGS) == (1, 2, 4, 7)
    assert (wire.VENTED, wire.ARMED, wire.TRIPPED, wire.FLASHING) == (0, 1, 2, 3)
    reasons = {name.lower(): code for name, code in vars(wire).items() if name.lower() in wire.TRIP_WORDS}
    assert [wire.TRIP_WORDS[code] for code in reasons.values()] == list(reasons)
    assert len(reasons) == len(wire.TRIP_WORDS) - 1
    refusals = {code: wire.REFUSAL_WORDS[code] for name, code in vars(wire).items() if name.startswith("REFUSED_")}
    assert list(refusals) == list(range(1, len(wire.REFUSAL_WORDS)))


def test_every_code_has_its_words() -> None:
    assert len(wire.TRIP_WORDS) == wire.LINK_LOST + 1
    assert wire.TRIP_WORDS[wire.ESTOP] == "estop"
    assert wire.TRIP_WORDS[wire.PASS_LATE] == "pass_late"
    assert len(wire.REFUSAL_WORDS) == wire.REFUSED_BOOT_ID + 1
    assert len(set(wire.TRIP_WORDS)) == len(wire.TRIP_WORDS)


# --- what MicroPython can run ------------------------------------------------------------------------------------

SOURCES = sorted(Path(str(firmware.__file__)).parent.glob("*.py"))
FORBIDDEN_NODES = (ast.Match, ast.AsyncFunctionDef, ast.Await, ast.NamedExpr, ast.JoinedStr, ast.TryStar)
HAS = {
    "binascii": {"crc32"},
    "json": {"load"},
    "machine": {"ADC", "I2C", "PWM", "Pin", "UART", "WDT", "reset"},
    "micropython": {"kbd_intr"},
    "os": {"urandom"},
    "select": {"POLLIN", "POLLOUT", "poll"},
    "struct": {"calcsize", "pack", "unpack", "unpack_from"},
    "sys": {"stdin", "stdout"},
    "time": {"sleep_ms", "ticks_ms"},
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_firmware_is_python_that_micropython_has(source: Path) -> None:
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        where = f"{source.name}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, FORBIDDEN_NODES), f"{where}: {type(node).__name__}"
        if isinstance(node, ast.Import):
            assert not node.names, f"{where}: only `from ... import` of {sorted(HAS)} and of this package"
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module in HAS, f"{where}: {node.module}"
            assert {alias.name for alias in node.names} <= HAS[node.module], where
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, where
        elif isinstance(node, ast.arguments):
            assert not node.posonlyargs, f"{where}: positional-only"
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            assert not node.decorator_list, f"{where}: decorator"
            if isinstance(node, ast.ClassDef):
                assert not node.keywords, f"{where}: metaclass"
        elif isinstance(node, ast.Attribute):
            assert node.attr not in {"Struct", "removeprefix", "removesuffix", "bit_count"}, f"{where}: {node.attr}"
        elif isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"{where}: integers only"


def test_the_check_looks_at_the_files_that_matter() -> None:
    assert {"guard.py", "wire.py"} <= {source.name for source in SOURCES}
