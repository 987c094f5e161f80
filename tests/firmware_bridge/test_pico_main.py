"""A Pico's settings and its loop: what is wrong in the file is a sentence, what raises in the loop a reset."""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from firmware_bridge.firmware import pico_main
from firmware_bridge.firmware.guard import TICKS
from firmware_bridge.firmware.pico_main import UartSerial, UsbSerial, read_settings, settings

WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "bench.json: must be an object"),
    "unknown key": ({"estopp": 15}, "there is no estopp; there are cuffs, estop, heartbeat, pwm_hz, serial, uart"),
    "serial": ({"serial": "i2c"}, 'serial: must be "usb" or "uart"'),
    "no number": ({"estop": "15"}, "bench.json.estop: must be a whole number"),
    "true is no number": ({"estop": True}, "bench.json.estop: must be a whole number"),
    "uart": ({"uart": 0}, "uart: must be an object"),
    "no cuffs": ({"cuffs": []}, "cuffs: must be a list of one or two"),
    "three cuffs": ({"cuffs": [{}, {}, {}]}, "cuffs: must be a list of one or two"),
    "cuffs no list": ({"cuffs": {}}, "cuffs: must be a list of one or two"),
    "cuff": ({"cuffs": [7]}, "cuffs[1]: must be an object"),
    "cuff key": ({"cuffs": [{}, {"valve": 3}]}, "cuffs[2]: there is no valve"),
    "sensor": ({"cuffs": [{"sensor": 7}]}, "cuffs[1].sensor: must be an object of kind abp2 or mpx5050"),
    "sensor kind": ({"cuffs": [{"sensor": {"kind": "mpr"}}]}, "must be an object of kind abp2 or mpx5050"),
    "part": ({"cuffs": [{"sensor": {"part": "005PG"}}]}, "part: must be one of 001BG, 015PG, 060KG, 100KG, 600MG"),
    "gain": ({"cuffs": [{"sensor": {"gain_e4": 8999}}]}, "gain_e4: must be 9000 to 11000"),
    "zero": ({"cuffs": [{"sensor": {"zero_dmmhg": 101}}]}, "zero_dmmhg: must be -100 to 100"),
    "key of the other kind": ({"cuffs": [{"sensor": {"kind": "mpx5050", "sda": 4}}]}, "there is no sda"),
    "no such gpio": ({"cuffs": [{"vent": 25}]}, "cuffs[1].vent: 25 must be a GPIO of the board"),
    "taken": ({"cuffs": [{"vent": 2}]}, "cuffs[1].vent: GPIO 2 is already cuffs[1].pump"),
    "taken by the other cuff": ({"cuffs": [{}, {"dump": 6}]}, "cuffs[2].dump: GPIO 6 is already cuffs[1].vent"),
    "one output of the pwm": ({"cuffs": [{}, {"pump": 18}]}, "cuffs[2].pump: GPIO 18 is the same PWM output as GPIO 2"),
    "one bus": (
        {"cuffs": [{}, {"sensor": {"i2c": 0, "sda": 20, "scl": 21}}]},
        "cuffs[2].sensor.i2c: 0 is the bus of cuffs[1] already",
    ),
    "taken by the uart": ({"serial": "uart", "estop": 1}, "uart.rx: GPIO 1 is already estop"),
    "taken by the supply": (
        {"estop": 28, "cuffs": [{"sensor": {"kind": "mpx5050"}}]},
        "cuffs[1].sensor.supply_adc: GPIO 28 is already estop",
    ),
}


@pytest.mark.parametrize(("given", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_are_wrong_are_refused_with_a_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the sentence is looked at below)
        settings(given)
    assert sentence in str(refused.value)


def test_what_is_left_out_is_as_the_defaults_have_it() -> None:
    whole = settings({"cuffs": [{}, {"sensor": {"kind": "mpx5050"}, "vent": 20}]})
    assert whole["serial"] == "usb"
    first, second = whole["cuffs"]
    assert (first["pump"], first["sensor"]["kind"], first["sensor"]["address"]) == (2, "abp2", 0x28)
    assert (second["pump"], second["vent"], second["sensor"]["adc"]) == (8, 20, 27)
    assert pico_main.DEFAULTS["cuffs"] == [{}]


def test_two_analogue_sensors_share_the_input_for_their_supply() -> None:
    both = [{"sensor": {"kind": "mpx5050"}}, {"sensor": {"kind": "mpx5050"}}]
    assert [cuff["sensor"]["supply_adc"] for cuff in settings({"cuffs": both})["cuffs"]] == [28, 28]


def test_a_board_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    assert read_settings(str(tmp_path / "bench.json")) == settings({})
    (tmp_path / "bench.json").write_text('{"pwm_hz": 500}')
    assert read_settings(str(tmp_path / "bench.json"))["pwm_hz"] == 500
    (tmp_path / "bench.json").write_text('{"pwm_hz": ')
    with pytest.raises(json.JSONDecodeError):
        read_settings(str(tmp_path / "bench.json"))


def test_a_uart_that_has_nothing_gives_no_bytes() -> None:
    written: list[bytes] = []
    uart = SimpleNamespace(read=lambda most: None if most else b"", write=written.append)
    port = UartSerial(uart)
    assert port.read() == b""
    assert port.ready()
    port.write(b"x")
    assert written == [b"x"]


class Console:
    """`select.poll`, `sys.stdin` and `sys.stdout` of a board; its host has sent something and has room for so much."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = b""
        self.room = 0
        self.written: list[bytes] = []
        self.buffer = self
        monkeypatch.setattr("select.poll", lambda: Polled(self))
        monkeypatch.setattr("sys.stdin", self)
        monkeypatch.setattr("sys.stdout", self)

    def read(self, count: int) -> bytes:
        assert count == 1
        assert self.sent, "it would wait"
        one, self.sent = self.sent[:1], self.sent[1:]
        return one

    def write(self, data: bytes) -> None:
        assert len(data) <= self.room, "it would wait"
        self.room -= len(data)
        self.written.append(data)


class Polled:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._for = 0

    def register(self, _: object, what: int) -> None:
        self._for = what

    def poll(self, timeout_ms: int) -> list[int]:
        assert timeout_ms == 0
        is_ready = self._console.sent if self._for == select.POLLIN else self._console.room
        return [1] if is_ready else []


def test_the_console_is_read_without_waiting_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(monkeypatch)
    port = UsbSerial()
    assert port.read() == b""
    console.sent = b"\x00\x03" * 200
    assert port.read() == b"\x00\x03" * 128
    assert port.read() == b"\x00\x03" * 72


def test_the_console_takes_what_there_is_room_for_and_the_rest_later(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(monkeypatch)
    port = UsbSerial()
    assert port.ready()
    console.room = 3
    port.write(b"status")
    assert b"".join(console.written) == b"sta"
    assert not port.ready()
    console.room = 2
    assert not port.ready()
    console.room = 9
    assert port.ready()
    assert b"".join(console.written) == b"status"


# --- the loop ----------------------------------------------------------------------------------------------------


class Reset(BaseException):
    """What a board does that resets itself."""


class Desk:
    """`machine`, `micropython` and the board in the test's hands: what was called, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Any] = []
        self.now_ms = TICKS - 50
        self.passes: list[Any] = []  # what each pass does: raise, end (False), or take so many ms
        self.times: list[int] = []
        machine, micropython = ModuleType("machine"), ModuleType("micropython")
        machine.reset = self._reset  # type: ignore[attr-defined]
        micropython.kbd_intr = lambda key: self.calls.append(("kbd_intr", key))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "machine", machine)
        monkeypatch.setitem(sys.modules, "micropython", micropython)
        monkeypatch.setattr(time, "ticks_ms", lambda: self.now_ms & TICKS, raising=False)
        monkeypatch.setattr(time, "sleep_ms", self._sleep, raising=False)
        monkeypatch.setattr(pico_main, "read_settings", lambda _: settings({}))
        monkeypatch.setattr(pico_main, "make_board", lambda *_: self)

    def _reset(self) -> None:
        self.calls.append("reset")
        raise Reset

    def _sleep(self, ms: int) -> None:
        assert 0 < ms <= 10
        self.now_ms += ms

    def one_pass(self, now_ms: int) -> bool:
        self.times.append(now_ms)
        does = self.passes.pop(0)
        if isinstance(does, BaseException):
            raise does
        if does is False:
            return False
        self.now_ms += does
        return True

    def low(self) -> None:
        self.calls.append("low")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


@pytest.mark.parametrize("error", [OSError(5), MemoryError(), KeyboardInterrupt(), AssertionError()], ids=repr)
def test_whatever_raises_in_the_loop_is_low_and_then_a_reset(desk: Desk, error: BaseException) -> None:
    desk.passes = [3, 3, error]
    with pytest.raises(Reset):
        pico_main.main()
    assert desk.calls == [("kbd_intr", -1), "low", "reset"]


def test_lines_that_cannot_be_driven_low_are_a_reset_all_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.passes = [RuntimeError()]

    def low() -> None:
        raise OSError(5)

    monkeypatch.setattr(desk, "low", low)
    with pytest.raises(Reset):
        pico_main.main()
    assert desk.calls[-1] == "reset"


def test_a_board_that_cannot_begin_shows_its_console(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: str) -> None:
        raise ValueError("estop: must be a whole number")

    monkeypatch.setattr(pico_main, "read_settings", wrong)
    with pytest.raises(ValueError, match="estop"):
        pico_main.main()
    assert desk.calls == [("kbd_intr", -1), ("kbd_intr", 3)]


def test_told_to_leave_it_is_low_and_its_console_is_back(desk: Desk) -> None:
    desk.passes = [3, False]
    pico_main.main()
    assert desk.calls == [("kbd_intr", -1), "low", ("kbd_intr", 3)]


def test_passes_are_10_ms_apart_across_the_wrap_and_a_late_one_is_not_caught_up(desk: Desk) -> None:
    """Nor is the next one sooner than 6 ms after its end: the sensor's conversion takes 5."""
    begin_ms = desk.now_ms
    desk.passes = [3, 0, 9, 3, 3, 3, 25, 3, 3, False]
    pico_main.main()
    assert [(at_ms - begin_ms) & TICKS for at_ms in desk.times] == [0, 10, 20, 35, 45, 55, 65, 96, 106, 116]
