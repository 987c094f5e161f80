"""The guard process's board and its socket: who is heard for what, and what each end of a connection does."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from firmware_bridge.firmware import wire
from firmware_bridge.gpio_guard import GuardBoard, GuardServer
from firmware_bridge.link import HostLink
from firmware_bridge.ports import Reading, SensorFault, Wanted
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus
from firmware_bridge.simulated.guard import PassClock, SimulatedGuard
from firmware_bridge.simulated.plant import Cuff, PlantSettings

BOOT_ID = 0xB007
PASS_S = 0.01
LEFT_MS = 600_000


class B:
    """A sensor B that says what it is told to say."""

    name = "B"
    low_mmhg = -20.0
    high_mmhg = 450.0

    def __init__(self) -> None:
        self.mmhg = 0.0
        self.fault = ""
        self.start_fault = ""
        self.slow = False

    def start(self, now_s: float) -> None:  # noqa: ARG002
        if self.start_fault:
            raise SensorFault(self.start_fault)

    def read(self, now_s: float) -> Reading | None:
        if self.fault:
            raise SensorFault(self.fault)
        if self.slow:
            return None
        return Reading(now_s, self.mmhg, 1, 25.0)


class Lines:
    """Lines as they stand: (duty, flags) by channel, edges counted."""

    def __init__(self) -> None:
        self.driven = {0: (0, 0), 1: (0, 0)}
        self.loop_whole = True
        self.beats = 0
        self.shown: list[bool] = []

    def drive(self, channel: int, duty: int, flags: int) -> None:
        self.driven[channel] = (duty, flags)

    def estop_ok(self) -> bool:
        return self.loop_whole

    def beat(self) -> None:
        self.beats += 1

    def show(self, lit: bool) -> None:
        self.shown.append(lit)

    @property
    def vented(self) -> bool:
        return self.driven == {0: (0, 0), 1: (0, 0)}


class Talker:
    """The other end of a connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self._decoder = wire.Decoder()
        self._seq = 0
        self.quote_ms = self.welcome_ms = 0

    def seq(self) -> int:
        self._seq += 1
        return self._seq

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def heard(self) -> list[Any]:
        try:
            messages = self._decoder.feed(self.socket.recv(65536))
        except BlockingIOError:
            return []
        for message in messages:
            if message[1] == wire.WELCOME:
                self.quote_ms = self.welcome_ms = message[5]
            else:
                self.quote_ms = message[3]
        return messages

    @property
    def closed(self) -> bool:
        while True:
            try:
                if not self.socket.recv(65536):
                    return True
            except BlockingIOError:
                return False
            except OSError:
                return True


class Room:
    """A guard process without its process: server, lines and sensor, on a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 5.0
        self.lines = Lines()
        self.sensor = B()
        self.board = GuardBoard(self.lines, [self.sensor], BOOT_ID, lambda: self.now_s)
        self.allowed = True
        self.passes = 0
        self.path = folder / "b1.guard.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self.server = GuardServer(self.board, self._listener, lambda _: self.allowed, lambda: self.now_s, self._passed)
        self._talkers: list[Talker] = []

    def _passed(self) -> None:
        self.passes += 1

    def go(self, seconds: float = PASS_S, each: Callable[[], None] = lambda: None) -> None:
        for _ in range(round(seconds / PASS_S)):
            self.now_s += PASS_S
            self.server.once()
            each()

    def hear(self) -> None:
        """What has come, without a pass: the time of a pass has not come."""
        passes = self.passes
        self.now_s += 0.001
        self.server.once()
        assert self.passes == passes
        self.now_s -= 0.001

    def talker(self) -> Talker:
        self._talkers.append(Talker(self.path))
        return self._talkers[-1]

    def host(self, pumping: bool = True) -> Talker:
        """A host that has armed, and leases its pump."""
        self.go(0.6)  # empty is confirmed
        host = self.talker()
        host.send(wire.hello(host.seq(), 77))
        self.go()
        host.heard()
        host.send(wire.arm(host.seq(), BOOT_ID, host.welcome_ms, 2000, 0, LEFT_MS, 0))
        self.go(2 * PASS_S)
        assert self.board.guard.state == wire.ARMED, self.board.guard.refusal
        if pumping:
            self.lease(host)
        return host

    def lease(self, host: Talker) -> None:
        host.heard()
        host.send(wire.lease(host.seq(), host.quote_ms, 250, 500, wire.ALL_FLAGS, 0, 0))
        self.hear()
        assert self.lines.driven[0] == (500, wire.ALL_FLAGS)

    def close(self) -> None:
        for talker in self._talkers:
            talker.socket.close()
        self.server.serve(lambda: True)
        self._listener.close()


@pytest.fixture
def room() -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix="mg") as folder:
        made = Room(Path(folder))
        yield made
        made.close()


# --- how a host may end ----------------------------------------------------------------------------------------------


def test_the_end_of_the_hosts_connection_vents_at_once_and_not_a_pass_later(room: Room) -> None:
    host = room.host()
    host.socket.close()
    room.hear()
    assert room.lines.vented
    assert (room.board.guard.state, room.board.guard.trip_reason) == (wire.TRIPPED, wire.LINK_LOST)


def test_a_lease_that_waits_before_the_end_does_not_outlive_it(room: Room) -> None:
    host = room.host()
    host.heard()
    for _ in range(200):
        host.send(wire.lease(host.seq(), host.quote_ms, 250, 900, wire.ALL_FLAGS, 0, 0))
    host.socket.close()
    room.hear()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.LINK_LOST


def test_a_silent_host_is_vented_when_its_lease_lapses(room: Room) -> None:
    room.host()
    room.go(0.22)
    assert room.lines.driven[0] == (500, wire.ALL_FLAGS)
    room.go(0.05)
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.LEASE_EXPIRED


def test_damaged_frames_of_the_host_fill_its_budget(room: Room) -> None:
    host = room.host()
    host.send(b"\x05noise\x00" * 30)
    room.hear()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.FRAME_BUDGET


def test_arming_a_guard_that_has_rebooted_since_trips(room: Room) -> None:
    room.go(0.6)
    host = room.talker()
    host.send(wire.hello(host.seq(), 77))
    room.go()
    host.heard()
    host.send(wire.arm(host.seq(), BOOT_ID + 1, host.welcome_ms, 2000, 0, LEFT_MS, 0))
    room.hear()
    assert room.board.guard.trip_reason == wire.BAD_BOOT_ID


def test_a_late_pass_trips(room: Room) -> None:
    host = room.host()
    room.now_s += 0.15  # stopped and continued
    host.send(wire.lease(host.seq(), host.quote_ms, 250, 900, wire.ALL_FLAGS, 0, 0))
    room.server.once()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.PASS_LATE
    assert room.server.missed == 14


# --- what its log says of a trip -------------------------------------------------------------------------------------


def _late(room: Room) -> None:
    room.now_s += 0.15


def _full(room: Room) -> None:
    room.sensor.mmhg = 201.0


def _lost(room: Room) -> None:
    room.sensor.mmhg = 100.0
    room.go()
    room.sensor.fault = "gone"
    room.go(0.1)


def _pressed(room: Room) -> None:
    room.lines.loop_whole = False


def _asked(room: Room) -> None:
    room.talker().send(wire.trip(1))


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (_late, "tripped, vented: pass_late, 160.0 ms between two passes, the limit is 100 ms"),
        (_full, "tripped, vented: ceiling, cuff 1: B at 201.0 mmHg, the limit is 200.0 mmHg"),
        (_lost, "tripped, vented: sensor_lost, cuff 1"),
        (_pressed, "tripped, vented: estop"),
        (_asked, "tripped, vented: host_trip (by another connection than the host's)"),
    ],
)
def test_a_trip_is_in_the_log_once_with_its_figure(
    happens: Callable[[Room], None], said: str, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.host()
    happens(room)
    room.go(0.05)
    assert room.board.guard.state == wire.TRIPPED
    told = [one for one in caplog.records if "tripped" in one.message]
    assert [(one.levelname, one.message) for one in told] == [("WARNING", said)]


def test_a_bus_that_holds_a_pass_up_is_in_the_log_with_how_long(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.host()
    whole = room.sensor.read

    def held_up(now_s: float) -> Reading | None:
        room.now_s += 0.2
        return whole(now_s)

    room.sensor.read = held_up  # type: ignore[method-assign]
    room.go()
    assert "tripped, vented: pass_late, 210.0 ms between two passes" in caplog.text


def test_another_trip_after_a_reset_is_in_the_log_too(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    host = room.host(pumping=False)
    room.go(0.3)
    host.heard()
    host.send(wire.reset(host.seq(), BOOT_ID, host.quote_ms, 0))
    room.go()
    assert room.board.guard.state == wire.VENTED
    room.lines.loop_whole = False
    room.go()
    told = [one.message for one in caplog.records if "tripped" in one.message]
    assert told == ["tripped, vented: lease_expired", "tripped, vented: estop"]


@pytest.mark.parametrize("late_s", [0.004, 0.008, 0.0099])
def test_a_pass_on_time_behind_a_late_one_leaves_a_conversion_its_time(room: Room, late_s: float) -> None:
    room.go()
    passes = room.passes
    room.now_s += PASS_S + late_s
    room.server.once()
    assert room.passes == passes + 1
    room.now_s += 0.0045
    room.hear()  # the deadline may have been there already
    room.now_s += 0.0056
    room.server.once()
    assert room.passes == passes + 2


def test_the_end_of_the_process_vents_and_says_so(room: Room) -> None:
    host = room.host()
    host.heard()
    room.server.serve(lambda: True)
    assert room.lines.vented
    said = host.heard()
    assert (said[-1][5], said[-1][6]) == (wire.TRIPPED, wire.HOST_TRIP)
    assert host.closed


# --- its own sensors and its own stop --------------------------------------------------------------------------------


def test_the_stop_loop_is_asked_in_every_pass(room: Room) -> None:
    room.host()
    room.lines.loop_whole = False
    room.go()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.ESTOP


@pytest.mark.parametrize("where", ["fault", "start_fault"])
def test_a_sensor_that_fails_is_no_reading(room: Room, where: str) -> None:
    room.host()
    setattr(room.sensor, where, "it does not answer")
    room.go()
    missing = room.board.guard.outputs[0].b_dmmhg == wire.NO_READING
    assert missing is (where == "fault"), "a start that failed shows at the next read"


def test_a_reading_stands_while_a_slow_sensor_converts_and_not_for_long(room: Room) -> None:
    room.sensor.mmhg = 12.0
    room.go()
    room.sensor.slow = True
    room.go(0.04)
    assert room.board.guard.outputs[0].b_dmmhg == 120
    room.go(0.02)
    assert room.board.guard.outputs[0].b_dmmhg == wire.NO_READING


def test_pressure_at_the_ceiling_vents_in_the_same_pass(room: Room) -> None:
    room.host()
    room.sensor.mmhg = 201.0
    room.go()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.CEILING


def test_a_whole_pass_gives_one_beat_and_bytes_give_none(room: Room) -> None:
    host = room.host()
    beats = room.lines.beats
    room.lease(host)
    assert room.lines.beats == beats
    room.go(0.05)
    assert room.lines.beats == beats + 5


@pytest.mark.parametrize("held_up_s", [0.11, 2.0])
def test_a_bus_that_held_a_pass_up_does_not_give_the_coils_their_supply_back(room: Room, held_up_s: float) -> None:
    """The monostable may have let go by then: with lines still high, one edge would close the valves again."""
    room.host()
    beats, whole = room.lines.beats, room.sensor.read

    def blocked(now_s: float) -> Reading | None:
        room.now_s += held_up_s
        return whole(now_s)

    room.sensor.read = blocked  # type: ignore[method-assign]
    room.go()
    assert room.lines.vented
    assert room.board.guard.trip_reason == wire.PASS_LATE
    assert room.lines.beats == beats
    room.sensor.read = whole  # type: ignore[method-assign]
    room.go()
    assert room.lines.beats == beats + 1


def test_a_pass_that_raises_gives_no_beat(room: Room) -> None:
    beats = room.lines.beats

    def broken(now_s: float) -> Reading:  # noqa: ARG001
        raise ZeroDivisionError

    room.sensor.read = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        room.go()
    assert room.lines.beats == beats
    room.sensor.read = lambda now_s: Reading(now_s, 0.0, 1, 25.0)  # type: ignore[method-assign]


def test_the_lamp_is_dark_vented_lit_armed_and_blinks_tripped(room: Room) -> None:
    room.go(0.1)
    assert not any(room.lines.shown)
    host = room.host()
    assert room.lines.shown[-1]
    host.socket.close()
    room.lines.shown.clear()
    room.go(1.0)
    assert {True, False} == set(room.lines.shown)


def test_a_guard_is_for_one_or_two_cuffs() -> None:
    for fitted in (0, 3):
        with pytest.raises(ValueError, match=f"{fitted} sensors"):
            GuardBoard(Lines(), [B()] * fitted, 1, lambda: 0.0)


# --- others beside the host ------------------------------------------------------------------------------------------


def test_a_trip_of_anybody_vents_at_once_and_the_host_hears_of_it(room: Room) -> None:
    host = room.host()
    host.heard()
    other = room.talker()
    room.hear()
    other.send(wire.trip(1))
    room.hear()
    assert room.lines.vented
    room.go(0.03)
    assert host.heard()[-1][5:7] == (wire.TRIPPED, wire.HOST_TRIP)


def test_hello_and_trip_beside_a_host_is_told_how_the_cuffs_are(room: Room) -> None:
    """`manchet safe`."""
    room.host()
    other = room.talker()
    other.send(wire.hello(1, 5) + wire.trip(2))
    room.go(0.05)
    said = other.heard()
    assert said[0][1] == wire.WELCOME
    assert said[0][3:5] == (5, BOOT_ID)
    assert said[0][7] == 1
    assert said[-1][1] == wire.STATUS
    assert said[-1][5] == wire.TRIPPED


def test_trip_and_then_hello_is_told_too(room: Room) -> None:
    room.host()
    other = room.talker()
    other.send(wire.trip(1))
    room.go(0.03)
    assert other.heard() == [], "who has not said HELLO is told nothing"
    other.send(wire.hello(2, 6))
    room.go(0.05)
    assert [message[1] for message in other.heard()][:2] == [wire.WELCOME, wire.STATUS]


def test_hello_and_trip_without_a_host_trips_and_is_told(room: Room) -> None:
    other = room.talker()
    other.send(wire.hello(1, 5) + wire.trip(2))
    room.go(0.05)
    said = other.heard()
    assert said[0][1] == wire.WELCOME
    assert said[-1][5] == wire.TRIPPED


def test_who_has_tripped_can_never_lease_arm_or_reset(room: Room) -> None:
    other = room.talker()
    other.send(wire.trip(1))
    room.go(0.6)
    assert room.board.guard.state == wire.TRIPPED
    other.send(wire.hello(2, 9))
    room.go()
    other.heard()
    other.send(wire.reset(3, BOOT_ID, other.quote_ms, 1))
    other.send(wire.arm(4, BOOT_ID, other.quote_ms, 2000, 0, LEFT_MS, 0))
    other.send(wire.lease(5, other.quote_ms, 250, 900, wire.ALL_FLAGS, 0, 0))
    room.go()
    assert room.board.guard.state == wire.TRIPPED
    assert room.board.guard.refused == 0, "the guard never saw them"
    assert room.lines.vented


def test_a_second_host_is_refused_while_the_first_is_there(room: Room) -> None:
    host = room.host()
    second = room.talker()
    second.send(wire.hello(1, 5))
    room.go(0.05, lambda: room.lease(host))
    second.send(wire.lease(2, host.quote_ms, 250, 0, 0, 0, 0) + wire.disarm(3))
    room.go(0.15, lambda: room.lease(host))
    assert second.closed
    assert room.board.guard.state == wire.ARMED, "and the first does not notice"
    host.socket.close()
    room.go()
    third = room.talker()
    third.send(wire.hello(1, 6))
    room.go(0.05)
    assert third.heard()[0][1] == wire.WELCOME


def test_who_says_nothing_or_nonsense_is_shown_out(room: Room) -> None:
    host = room.host()
    mute, noisy = room.talker(), room.talker()
    room.hear()
    noisy.send(b"GET / HTTP/1.1\r\n" * 20)
    room.hear()
    room.hear()
    assert noisy.closed
    room.go(1.9, lambda: room.lease(host))
    assert not mute.closed
    room.go(0.25, lambda: room.lease(host))
    assert mute.closed
    assert room.board.guard.state == wire.ARMED, "what others send does not count against the host"


def test_another_user_is_not_heard(room: Room) -> None:
    room.host()
    room.allowed = False
    other = room.talker()
    other.send(wire.trip(1))
    room.hear()
    assert other.closed
    assert room.board.guard.state == wire.ARMED


def test_more_connections_than_there_is_room_for(room: Room) -> None:
    host = room.host()
    talkers = [room.talker() for _ in range(40)]
    room.go(0.5, lambda: room.lease(host))
    assert [talker.closed for talker in talkers] == [False] * 31 + [True] * 9


def test_a_host_that_does_not_read_costs_no_pass(room: Room) -> None:
    host = room.host()

    def lease() -> None:
        host.send(wire.lease(host.seq(), int(room.now_s * 1000) - 10, 250, 0, wire.BOTH_CLOSED, 0, 0))

    passes = room.passes
    room.go(60.0, lease)
    assert room.passes == passes + 6000
    assert room.board.guard.state == wire.ARMED


def test_who_has_gone_when_it_is_told_is_forgotten(room: Room) -> None:
    other = room.talker()
    other.send(wire.hello(1, 5) + wire.trip(2))
    room.go(0.02)
    other.socket.close()
    room.server._tell(b"too late")
    room.go(0.02)
    assert room.board.guard.state == wire.TRIPPED


# --- the same board in virtual time ----------------------------------------------------------------------------------


class Ends(list[bytes]):
    """Both ends of a link without latency, as a host sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.to_host = b""

    def write(self, data: bytes) -> None:
        self.append(data)

    def read(self) -> bytes:
        data, self.to_host = self.to_host, b""
        return data

    def take(self) -> bytes:
        data = b"".join(self)
        self.clear()
        return data


class PlantPins(Lines):
    """Lines that end in a cuff."""

    def __init__(self, cuff: Cuff, clock: PassClock) -> None:
        super().__init__()
        self._cuff = cuff
        self._clock = clock

    def drive(self, channel: int, duty: int, flags: int) -> None:
        if channel == 0:
            cuff = self._cuff
            cuff.advance(self._clock.now_s)
            cuff.pump_duty, cuff.pump_enabled = duty * 0.001, bool(flags & wire.PUMP_ENABLE)
            cuff.vent_open, cuff.dump_open = not flags & wire.VENT_CLOSED, not flags & wire.DUMP_CLOSED


def a_cuff() -> tuple[Cuff, Abp2Device, PassClock, Abp2]:
    clock = PassClock(0.0)
    cuff = Cuff(PlantSettings(volume_ml=150.0, slack_ml=0.0))
    device = Abp2Device(cuff.cuff_at, Random("b"), 0.15, 0.003)
    bus = SimulatedBus(clock)
    bus.devices[0x28] = device
    return cuff, device, clock, Abp2(bus)


@pytest.mark.parametrize("end", ["the lease lapses", "the stop is pressed", "B is lost", "at its ceiling"])
def test_in_virtual_time_it_lives_to_the_pass_as_the_simulated_guard_does(end: str) -> None:
    """Whatever a session in simulation says of the guard is said of this board."""
    cuff, device, clock, sensor = a_cuff()
    simulated = SimulatedGuard([cuff], [sensor], clock, 3, latency_s=0.0)
    my_cuff, my_device, my_clock, my_sensor = a_cuff()
    lines = PlantPins(my_cuff, my_clock)
    board = GuardBoard(lines, [my_sensor], simulated.guard.boot_id, my_clock)
    ends, my_ends = Ends(), Ends()
    links = [HostLink(one, count(7).__next__) for one in (ends, my_ends)]
    pumping, closed = Wanted(0.9, True, False, False), Wanted(0.0, False, False, False)
    states = []
    for tick in range(500):
        host_s, pass_s = tick * 0.01, tick * 0.01 + 0.005
        for link in links:
            link.poll(host_s)
            if tick == 80:
                link.arm((90.0 if end == "at its ceiling" else 200.0,), (600.0,), host_s)
            if tick < 300 or end != "the lease lapses":
                link.lease((pumping if 90 < tick < 250 else closed,), host_s)
        if tick == 300 and end == "the stop is pressed":
            simulated.estop_open, lines.loop_whole = True, False
        if tick == 300 and end == "B is lost":
            device.nack = my_device.nack = True
        simulated.to_guard.put(ends.take(), host_s)
        simulated.advance(pass_s + 1e-6)
        ends.to_host += simulated.to_host.take(pass_s + 1e-6)
        my_clock.now_s = pass_s
        my_ends.to_host += board.one_pass(my_ends.take())
        assert ends.to_host == my_ends.to_host, tick
        assert cuff.cuff_at(pass_s) == my_cuff.cuff_at(pass_s), tick
        states.append(board.guard.state)
    assert {wire.VENTED, wire.ARMED, wire.TRIPPED} == set(states)
    assert my_cuff.cuff_mmhg < 15.0
