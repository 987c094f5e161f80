"""One pass of a board: what fails in it never leaves a line high, and its watchdog is fed by whole passes alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from firmware_bridge.firmware import wire
from firmware_bridge.firmware.board import Board, Lines
from firmware_bridge.firmware.guard import TICKS, Guard

CLOSED = wire.VENT_CLOSED | wire.DUMP_CLOSED
PUMP = CLOSED | wire.PUMP_ENABLE
BOOT = 77


class Pin:
    """A pin or a PWM that remembers."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self.history: list[int] = []

    def value(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
            self.history.append(level)
        return self.level

    duty_u16 = value


class Cable:
    """A serial port in the test's hands."""

    def __init__(self) -> None:
        self.to_read = b""
        self.written = b""
        self.is_ready = True
        self.error: Exception | None = None

    def read(self) -> bytes:
        data, self.to_read = self.to_read, b""
        return data

    def ready(self) -> bool:
        return self.is_ready

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.written += data


class Gauge:
    def __init__(self) -> None:
        self.dmmhg = 0
        self.error: Exception | None = None

    def convert(self) -> int:
        if self.error is not None:
            raise self.error
        return self.dmmhg


class Watchdog:
    def __init__(self) -> None:
        self.fed = 0

    def feed(self) -> None:
        self.fed += 1


class Rig:
    def __init__(self, cuffs: int = 1, start_ms: int = 1000) -> None:
        self.cable = Cable()
        self.pins = [[Pin(1), Pin(1), Pin(1), Pin(1)] for _ in range(cuffs)]  # as found: nothing can be relied on
        self.gauges = [Gauge() for _ in range(cuffs)]
        self.estop = Pin(0)
        self.heartbeat = Pin()
        self.watchdogs: list[Watchdog] = []
        self.now_ms = start_ms
        self.guard = Guard(BOOT, cuffs, self.now_ms)
        lines = [Lines(*pins) for pins in self.pins]
        self.board = Board(
            self.guard, self.cable, lines, self.gauges, self.estop, self.heartbeat, self._start_watchdog
        )  # fmt: skip
        self.seq = 0

    def _start_watchdog(self) -> Watchdog:
        self.watchdogs.append(Watchdog())
        return self.watchdogs[-1]

    def pass_(self, count: int = 1) -> bool:
        on = True
        for _ in range(count):
            self.now_ms += 10
            on = self.board.one_pass(self.now_ms)
        return on

    def say(self, make: Callable[..., bytes], *body: int) -> None:
        self.seq += 1
        self.cable.to_read += make(self.seq, *body)

    def lease(self, duty: int = 600, flags: int = PUMP) -> None:
        self.say(wire.lease, self.now_ms & TICKS, 250, duty, flags, duty, flags)

    def armed(self) -> Rig:
        self.pass_(60)
        self.say(wire.hello, 5000 + self.seq)
        self.pass_()
        ceilings = [2500] * len(self.gauges) + [0]
        self.say(wire.arm, BOOT, self.now_ms & TICKS, ceilings[0], ceilings[1], 60000, 60000)
        self.pass_()
        assert self.guard.state == wire.ARMED
        return self

    def pumping(self) -> Rig:
        self.armed().lease()
        self.pass_()
        assert self.levels() == [[39321, 1, 1, 1]] * len(self.gauges)
        return self

    def levels(self) -> list[list[int]]:
        return [[pin.level for pin in pins] for pins in self.pins]


LOW = [0, 0, 0, 0]


@pytest.mark.parametrize("cuffs", [1, 2])
def test_made_everything_is_low(cuffs: int) -> None:
    assert Rig(cuffs).levels() == [LOW] * cuffs


@pytest.mark.parametrize("cuffs", [1, 2])
def test_low_is_low_whatever_the_guard_wants(cuffs: int) -> None:
    rig = Rig(cuffs).pumping()
    rig.heartbeat.level = 1
    rig.board.low()
    assert rig.levels() == [LOW] * cuffs
    assert rig.heartbeat.level == 0


def test_an_open_stop_loop_is_low_in_the_same_pass() -> None:
    rig = Rig().pumping()
    rig.estop.level = 1
    rig.lease()
    rig.pass_()
    assert rig.levels() == [LOW]
    assert rig.guard.trip_reason == wire.ESTOP


def test_a_reading_at_the_ceiling_is_low_in_the_same_pass() -> None:
    rig = Rig(2).pumping()
    rig.gauges[1].dmmhg = 2500
    rig.lease()
    rig.pass_()
    assert rig.levels() == [LOW, LOW]
    assert (rig.guard.trip_reason, rig.guard.trip_channel) == (wire.CEILING, 1)


def test_a_lost_sensor_is_low_after_100_ms() -> None:
    rig = Rig().pumping()
    rig.gauges[0].dmmhg = wire.NO_READING
    for _ in range(10):
        rig.lease()
        rig.pass_()
    assert rig.levels() != [LOW]
    rig.lease()
    rig.pass_()
    assert (rig.levels(), rig.guard.trip_reason) == ([LOW], wire.SENSOR_LOST)


def test_a_lease_that_lapses_is_low() -> None:
    rig = Rig().pumping()
    rig.pass_(25)
    assert (rig.levels(), rig.guard.trip_reason) == ([LOW], wire.LEASE_EXPIRED)


def test_a_pin_that_something_else_has_changed_is_put_right_by_the_next_pass() -> None:
    rig = Rig()
    rig.pass_()
    for pin in rig.pins[0]:
        pin.level = 1
    rig.pass_()
    assert rig.levels() == [LOW]


@pytest.mark.parametrize("where", ["sensor", "write"])
def test_a_pass_that_raises_feeds_no_watchdog(where: str) -> None:
    rig = Rig().armed()
    (watchdog,) = rig.watchdogs
    fed = watchdog.fed
    if where == "sensor":
        rig.gauges[0].error = RuntimeError("as the test wants it")
    else:
        rig.cable.error = RuntimeError("as the test wants it")
    with pytest.raises(RuntimeError):
        rig.pass_(2)
    assert watchdog.fed <= fed + 1  # of the pass that had nothing to write


def test_no_watchdog_before_the_first_arm_and_one_for_ever_after() -> None:
    rig = Rig()
    rig.say(wire.hello, 5)
    rig.pass_(100)
    assert rig.watchdogs == []
    rig.armed()
    (watchdog,) = rig.watchdogs
    assert watchdog.fed == 1
    rig.say(wire.disarm)
    rig.pass_(10)
    assert watchdog.fed == 11
    rig.armed()
    assert rig.watchdogs == [watchdog]


def test_every_whole_pass_toggles_the_heartbeat() -> None:
    rig = Rig()
    rig.heartbeat.history.clear()
    rig.pass_(7)
    assert rig.heartbeat.history == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(("took_ms", "beats"), [(100, True), (101, False), (5000, False), (-1, False)])
@pytest.mark.parametrize("start_ms", [1000, TICKS - 700])
def test_a_pass_that_hung_gives_no_edge_before_the_lines_are_low(took_ms: int, beats: bool, start_ms: int) -> None:
    """The monostable has let go of the coils meanwhile; an edge would close the valves for one pass more."""
    rig = Rig(start_ms=start_ms).pumping()
    rig.heartbeat.history.clear()
    rig.now_ms += took_ms - 10
    rig.pass_()
    assert (rig.heartbeat.history != []) is beats
    assert (rig.levels() == [LOW]) is not beats
    rig.pass_()
    assert len(rig.heartbeat.history) == 1 + beats


def test_a_host_that_does_not_read_gets_the_newest_once_it_does() -> None:
    rig = Rig()
    rig.say(wire.hello, 5)
    rig.cable.is_ready = False
    rig.pass_(100)
    assert rig.cable.written == b""
    rig.cable.is_ready = True
    rig.pass_(2)
    messages = wire.Decoder().feed(rig.cable.written)
    assert messages[-1][3] == rig.now_ms
    assert len(messages) <= 9


def test_it_goes_on_until_it_is_told_to_leave_for_flashing() -> None:
    rig = Rig()
    rig.say(wire.hello, 5)
    assert rig.pass_() is True
    rig.say(wire.maintenance, BOOT, rig.now_ms)
    assert rig.pass_() is False
    (status,) = [one for one in wire.Decoder().feed(rig.cable.written) if one[1] == wire.STATUS]
    assert status[5] == wire.FLASHING  # and has said so
    assert rig.levels() == [LOW]
