"""The simulated board: each of its faults ends vented, and the real guard, driver and link run on it unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from firmware_bridge.firmware import wire
from firmware_bridge.link import HostLink
from firmware_bridge.ports import Reading, SensorFault, Status, Transport, Wanted
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus
from firmware_bridge.simulated.guard import MONOSTABLE_S, PASS_S, Line, PassClock, SimulatedGuard
from firmware_bridge.simulated.plant import Cuff, PlantSettings

TICK_S = 0.01
VENT = Wanted(0.0, False, True, True)
HELD = Wanted(0.0, False, False, False)
PUMP = Wanted(0.6, True, False, False)


@dataclass
class Lines:
    """Pins without a cuff: what they are, and when they last changed."""

    pump_duty: float = 0.0
    pump_enabled: bool = False
    vent_open: bool = True
    dump_open: bool = True
    advanced: list[float] = field(default_factory=list)

    def advance(self, to_s: float) -> None:
        self.advanced.append(to_s)

    @property
    def vented(self) -> bool:
        return (self.pump_duty, self.pump_enabled, self.vent_open, self.dump_open) == (0.0, False, True, True)


@dataclass
class Gauge:
    """A sensor without a bus."""

    name: str = "B"
    low_mmhg: float = -20.0
    high_mmhg: float = 450.0
    b_mmhg: float = 0.0
    broken: str = ""
    converting: bool = False

    def start(self, now_s: float) -> None:  # noqa: ARG002
        if self.broken == "start":
            raise SensorFault("B: does not answer")

    def read(self, now_s: float) -> Reading | None:
        if self.broken == "read":
            raise SensorFault("B: does not answer")
        if self.converting:
            return None
        return Reading(now_s, self.b_mmhg, 0, 25.0)


class Bench:
    """A host that ticks, polls and leases; `wanted` is what it asks for. Stand-ins for cuff and sensor."""

    def __init__(self, cuffs: int = 1, seed: int = 1, start_ms: int = 0) -> None:
        self.now_s = 0.0
        self.lines = [Lines() for _ in range(cuffs)]
        self.gauges = [Gauge() for _ in range(cuffs)]
        self.board = SimulatedGuard(self.lines, self.gauges, PassClock(), seed, start_ms=start_ms)
        nonces = Random(f"{seed}/nonces")
        self.transport: Transport = self.board.transport(lambda: self.now_s)
        self.link = HostLink(self.transport, lambda: nonces.getrandbits(32), cuffs)
        self.wanted: tuple[Wanted, ...] = (VENT,) * cuffs
        self.status: Status | None = None
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1
        self.now_s = self.ticks * TICK_S
        self.board.advance(self.now_s)  # as reading the plant would
        for status in self.link.poll(self.now_s):
            self.status = status
        self.link.lease(self.wanted, self.now_s)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.tick()

    @property
    def said(self) -> Status:
        assert self.status is not None
        return self.status

    def pumping(self) -> Bench:
        self.run(1.0)
        self.link.arm((250.0,) * len(self.lines), (1200.0,) * len(self.lines), self.now_s)
        self.wanted = (PUMP,) * len(self.lines)
        self.run(0.1)
        assert self.said.state == wire.ARMED
        assert self.lines[0].pump_enabled
        return self

    def vented_after(self, limit_s: float) -> float:
        """Seconds until every line is vented, while the board runs on; fails beyond the limit."""
        begin_s = self.now_s
        while not all(lines.vented for lines in self.lines):
            self.tick()
            assert self.now_s - begin_s <= limit_s + 1e-6, "not vented"
        return self.now_s - begin_s


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_dead_host_is_vented_within_300_ms_of_its_last_lease() -> None:
    bench = Bench(2).pumping()
    begin_s = bench.now_s
    while not bench.lines[0].vented:
        bench.now_s += 0.001
        bench.board.advance(bench.now_s)
        assert bench.now_s - begin_s < 0.3
    assert bench.now_s - begin_s > 0.2
    assert bench.lines[1].vented
    assert bench.board.guard.trip_reason == wire.LEASE_EXPIRED


def test_a_host_that_comes_back_late_finds_a_latched_trip() -> None:
    bench = Bench().pumping()
    bench.ticks += 100
    bench.run(2.0)
    assert (bench.said.state, bench.said.trip) == (wire.TRIPPED, "lease_expired")
    assert bench.lines[0].vented


def test_a_hung_guard_lets_go_of_its_lines_200_ms_after_its_last_pass() -> None:
    bench = Bench().pumping()
    last_pass_s = bench.board._last_pass_s
    bench.board.hung = True
    bench.lines[0].advanced.clear()
    bench.vented_after(0.21)
    assert bench.lines[0].advanced == pytest.approx([last_pass_s + MONOSTABLE_S])
    bench.run(0.2)
    assert "nothing for more than 250 ms" in bench.link.fault


def test_a_hung_guard_that_goes_on_blames_itself_and_stays_vented() -> None:
    bench = Bench().pumping()
    bench.board.hung = True
    bench.run(0.15)
    assert not bench.lines[0].vented
    bench.board.hung = False
    bench.vented_after(0.02)
    bench.run(2.0)
    assert (bench.said.trip, bench.lines[0].vented) == ("pass_late", True)


def test_a_host_that_does_not_look_does_not_hide_a_monostable_that_lapsed() -> None:
    bench = Bench().pumping()
    bench.board.hung = True
    bench.board.advance(bench.now_s + 10.0)
    assert bench.lines[0].vented


def test_passes_missed_while_hung_are_not_made_up() -> None:
    bench = Bench()
    bench.run(1.0)
    passes = bench.board.passes
    bench.board.hung = True
    bench.run(1.0)
    bench.board.hung = False
    bench.run(0.1)
    assert bench.board.passes - passes == 10


def test_a_reboot_vents_at_once_and_is_another_boot() -> None:
    bench = Bench().pumping()
    boot_id = bench.link.boot_id
    bench.board.reboot(bench.now_s)
    assert bench.lines[0].vented
    bench.run(2.0)
    assert (bench.said.state, bench.said.trip) == (wire.VENTED, "")
    assert bench.link.boot_id == boot_id
    assert bench.said.boot_id == bench.link.guard_boot_id == bench.board.guard.boot_id != boot_id
    assert bench.lines[0].vented
    bench.link.reset()
    assert bench.link.boot_id == bench.said.boot_id


def test_an_open_estop_cuts_the_lines_and_latches() -> None:
    bench = Bench().pumping()
    bench.board.estop_open = True
    bench.vented_after(0.02)
    bench.run(0.1)
    assert (bench.said.trip, bench.said.estop_ok) == ("estop", False)
    bench.board.estop_open = False
    bench.run(1.0)
    assert (bench.said.trip, bench.said.estop_ok) == ("estop", True)
    assert bench.lines[0].vented


def test_an_open_estop_cuts_the_lines_of_a_hung_guard_too() -> None:
    bench = Bench().pumping()
    bench.board.hung = True
    bench.board.estop_open = True
    bench.vented_after(0.01)


def test_an_unplugged_link_raises_and_the_lease_lapses() -> None:
    bench = Bench().pumping()
    bench.board.unplugged = True
    with pytest.raises(OSError, match="Input/output error"):
        bench.transport.read()
    with pytest.raises(OSError, match="Input/output error"):
        bench.transport.write(b"x")
    bench.tick()
    assert "Input/output error" in bench.link.fault
    bench.vented_after(0.3)
    bench.board.unplugged = False
    bench.run(1.5)
    assert (bench.link.fault, bench.said.trip) == ("", "lease_expired")
    assert bench.lines[0].vented


@pytest.mark.parametrize("direction", ["to_guard", "to_host"])
def test_a_link_silent_one_way_is_vented(direction: str) -> None:
    bench = Bench().pumping()
    getattr(bench.board, direction).silent = True
    bench.vented_after(0.3)
    bench.run(0.5)
    assert bench.board.guard.trip_reason == wire.LEASE_EXPIRED
    if direction == "to_host":
        assert "nothing for more than 250 ms" in bench.link.fault


@pytest.mark.parametrize("direction", ["to_guard", "to_host"])
@pytest.mark.parametrize("fault", ["drop", "corrupt"])
def test_a_link_that_loses_all_is_vented(direction: str, fault: str) -> None:
    bench = Bench().pumping()
    setattr(getattr(bench.board, direction), fault, 1.0)
    bench.vented_after(0.3)
    reason = bench.board.guard.trip_reason
    assert reason in (wire.LEASE_EXPIRED, wire.FRAME_BUDGET)


@pytest.mark.parametrize("direction", ["to_guard", "to_host"])
def test_a_link_that_loses_a_tenth_is_borne(direction: str) -> None:
    bench = Bench().pumping()
    getattr(bench.board, direction).corrupt = 0.05
    getattr(bench.board, direction).drop = 0.05
    bench.run(20.0)
    assert bench.said.state == wire.ARMED
    if direction == "to_guard":
        assert bench.link.counters[0] > 50


def test_every_frame_twice_to_the_guard_is_a_trip() -> None:
    bench = Bench().pumping()
    bench.board.to_guard.duplicate = 1.0
    bench.vented_after(0.4)
    bench.run(0.1)
    assert bench.said.trip == "frame_budget"


def test_every_frame_twice_to_the_host_changes_nothing() -> None:
    bench = Bench().pumping()
    bench.board.to_host.duplicate = 1.0
    bench.run(1.0)
    assert bench.said.state == wire.ARMED


@pytest.mark.parametrize("direction", ["to_guard", "to_host"])
def test_a_backlog_neither_prolongs_nor_revives(direction: str) -> None:
    bench = Bench().pumping()
    line = getattr(bench.board, direction)
    line.held = True
    bench.vented_after(0.3)
    bench.run(1.0)
    line.held = False
    bench.run(2.0)
    assert bench.lines[0].vented
    assert bench.said.trip == "lease_expired"


def test_a_delay_beyond_the_lease_is_vented() -> None:
    bench = Bench().pumping()
    bench.board.to_host.delay_s = 0.3
    bench.vented_after(0.35)


def test_a_delay_within_the_lease_is_borne() -> None:
    bench = Bench().pumping()
    bench.board.to_host.delay_s = 0.05
    bench.board.to_guard.delay_s = 0.05
    bench.run(5.0)
    assert bench.said.state == wire.ARMED


@pytest.mark.parametrize("drift", [0.9999, 1.0001, 0.98, 1.02])
def test_a_drifting_clock_ends_no_lease_that_is_renewed(drift: float) -> None:
    bench = Bench().pumping()
    bench.board.clock_drift = drift
    bench.wanted = (HELD,)
    bench.run(30.0)
    assert bench.said.state == wire.ARMED


def test_a_guard_clock_far_too_slow_makes_its_statuses_old() -> None:
    bench = Bench().pumping()
    bench.wanted = (HELD,)
    bench.board.clock_drift = 0.9
    bench.run(5.0)
    assert bench.now_s - bench.said.at_s > 0.25


def test_the_guards_clock_may_wrap_in_a_session() -> None:
    bench = Bench(start_ms=(1 << 30) - 3000).pumping()
    bench.wanted = (HELD,)
    bench.run(10.0)
    assert bench.said.state == wire.ARMED
    assert bench.said.guard_ms < 9000


@pytest.mark.parametrize("how", ["missing", "read", "start"])
def test_a_lost_sensor_b(how: str) -> None:
    bench = Bench(2).pumping()
    if how == "missing":
        bench.board.b_missing[1] = True
    else:
        bench.gauges[1].broken = how
    if how == "start":  # this stand-in then still reads; the real driver does not, see below
        bench.run(0.5)
        assert bench.said.state == wire.ARMED
    else:
        bench.vented_after(0.15)
        bench.run(0.1)
        assert (bench.said.trip, bench.said.trip_channel) == ("sensor_lost", 1)


def test_a_sensor_b_that_converts_for_ever_is_a_lost_one() -> None:
    """Its last reading stands while it converts, and no longer than 50 ms: after 100 ms more the guard gives it up."""
    bench = Bench(2).pumping()
    for _ in range(50):  # slower than a pass, but not by much
        bench.gauges[1].converting = True
        bench.run(0.03)
        bench.gauges[1].converting = False
        bench.run(0.01)
    assert bench.said.state == wire.ARMED
    bench.gauges[1].converting = True
    assert bench.vented_after(0.18) > 0.10
    bench.run(0.1)
    assert (bench.said.trip, bench.said.trip_channel) == ("sensor_lost", 1)


def test_pressure_at_the_ceiling_is_vented_in_the_pass_that_sees_it() -> None:
    bench = Bench(2).pumping()
    bench.gauges[1].b_mmhg = 250.0
    bench.tick()
    assert all(lines.vented for lines in bench.lines)
    bench.run(0.05)
    assert (bench.said.trip, bench.said.trip_channel) == ("ceiling", 1)


def test_a_bench_that_is_no_bench_is_refused() -> None:
    for cuffs, sensors in ((0, 0), (1, 2), (3, 3)):
        with pytest.raises(ValueError, match="must be one B sensor for each"):
            SimulatedGuard([Lines()] * cuffs, [Gauge()] * sensors, PassClock())


# --- as it should be ---------------------------------------------------------------------------------------------


def test_passes_come_every_10_ms_whenever_somebody_looks() -> None:
    often, seldom = Bench(), Bench()
    for n in range(1, 1001):
        often.board.advance(n * 0.001)
    seldom.board.advance(1.0)
    assert often.board.passes == seldom.board.passes == 100


def test_it_runs_before_the_hosts_own_sensor_reads_the_plant() -> None:
    bench = Bench()
    seen: list[int] = []
    read: Callable[[float], float] = bench.board.before(lambda now_s: float(seen.append(bench.board.passes) or now_s))
    assert read(0.5) == 0.5
    assert seen == [50]
    bench.board.hung = True
    read(0.51)
    assert seen == [50, 50]


def test_the_same_seed_is_the_same_bench() -> None:
    def life(seed: int) -> tuple[object, ...]:
        bench = Bench(seed=seed).pumping()
        bench.board.to_guard.corrupt = bench.board.to_host.drop = 0.1
        bench.run(3.0)
        return bench.said.guard_ms, bench.link.counters, bench.link.boot_id, bench.board.guard.boot_id

    assert life(5) == life(5)
    assert life(5) != life(6)


def test_a_line_keeps_order_and_latency() -> None:
    line = Line(Random(0), latency_s=0.002)
    line.delay_s = 0.1
    line.put(b"a", 0.0)
    line.delay_s = 0.0
    line.put(b"b", 0.05)
    assert line.take(0.101) == b""
    assert line.take(0.103) == b"ab"


def test_a_line_nobody_reads_keeps_no_more_than_its_buffer() -> None:
    line = Line(Random(0))
    for _ in range(10000):
        line.put(b"x" * 40, 0.0)
    assert len(line.take(1.0)) <= 16384
    line.put(b"y", 1.0)
    assert line.take(2.0) == b"y"


def test_a_real_cuff_with_the_real_driver_is_filled_held_and_vented() -> None:
    cuff = Cuff(PlantSettings())
    clock = PassClock()
    bus = SimulatedBus(clock)
    device = Abp2Device(cuff.cuff_at, Random("B"), 0.15, 0.003)
    bus.devices[0x28] = device
    now = [0.0]
    board = SimulatedGuard([cuff], [Abp2(bus, 0x28, "B")], clock, seed=3)
    nonces = Random("nonces")
    link = HostLink(board.transport(lambda: now[0]), lambda: nonces.getrandbits(32))
    wanted, b_mmhg, state = VENT, 0.0, 0
    for tick in range(1, 4000):
        now[0] = tick * TICK_S
        for status in link.poll(now[0]):
            b_mmhg, state = status.channels[0].b_mmhg, status.state
        if tick == 100:
            link.arm((200.0,), (1200.0,), now[0])
        elif tick > 110:
            wanted = PUMP if b_mmhg < 150.0 else HELD
        link.lease((wanted,), now[0])
    assert state == wire.ARMED
    assert b_mmhg == pytest.approx(cuff.cuff_mmhg, abs=1.0)
    assert cuff.cuff_mmhg == pytest.approx(150.0, abs=5.0)
    device.nack = True
    for tick in range(4000, 4500):
        now[0] = tick * TICK_S
        for status in link.poll(now[0]):
            trip = status.trip
        link.lease((HELD,), now[0])
    assert trip == "sensor_lost"
    assert cuff.cuff_at(now[0]) < 15.0


def test_the_latency_of_the_simulated_line_leaves_the_guard_one_pass_behind_at_most() -> None:
    bench = Bench().pumping()
    bench.wanted = (HELD,)
    bench.tick()
    assert bench.lines[0].pump_enabled
    bench.board.advance(bench.now_s + PASS_S)
    assert not bench.lines[0].pump_enabled
