"""The firmware under the real MicroPython, on a port, with the real link: each way it can go wrong ends vented."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from firmware_bridge.firmware import wire

pytestmark = pytest.mark.process

PUMP1, ENABLE1, VENT1, DUMP1, HEARTBEAT = "2", "3", "6", "7", "14"
ALLOWED_S = 0.1  # for a machine that is busy, on top of what the board is allowed


def went_low_at(pico: Any, gpio: str = ENABLE1, after_s: float = 0.0) -> float:
    """When a line was last driven low."""
    return max(at_s for at_s, line, value in pico.changes() if line == gpio and value == 0 and at_s > after_s)


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_dead_host_is_vented_when_its_lease_lapses(host: Any, pico: Any) -> None:
    host.pump()
    host.leasing = False
    stopped_s = time.monotonic()
    host.until(lambda: pico.vented, "vented")
    assert went_low_at(pico) - stopped_s < 0.25 + ALLOWED_S
    host.until(host.state(wire.TRIPPED), "tripped")
    assert host.last.trip == "lease_expired"
    host.leasing = True
    host.for_s(0.3)
    assert pico.vented
    assert host.last.state == wire.TRIPPED


FAULTS: dict[str, Callable[[Any], None]] = {
    "estop": lambda pico: pico.say("estop", True),
    "sensor_lost": lambda pico: pico.lose_sensor(),
    "ceiling": lambda pico: pico.press(250.5),
    "absolute_ceiling": lambda pico: pico.press(331.0),
}


@pytest.mark.parametrize("trip", FAULTS)
def test_what_the_board_senses_itself_trips_and_latches(host: Any, pico: Any, trip: str) -> None:
    host.pump()
    pico.press(120.0)
    host.for_s(0.1)
    assert host.last.channels[0].b_mmhg == pytest.approx(120.0, abs=0.1)
    began_s = time.monotonic()
    FAULTS[trip](pico)
    host.until(lambda: pico.vented, "vented")
    assert went_low_at(pico) - began_s < 0.12 + ALLOWED_S
    host.until(host.state(wire.TRIPPED), "tripped")
    assert host.last.trip == trip
    pico.say("estop", False)
    pico.press(0.0)
    host.for_s(0.3)
    assert (pico.vented, host.last.state, host.last.trip) == (True, wire.TRIPPED, trip)


def damaged(frame: bytes) -> bytes:
    return frame[:4] + bytes([frame[4] ^ 0x10 or 0x55]) + frame[5:]


BAD: dict[str, tuple[int, Callable[[int], bytes]]] = {  # which counter, and the frame
    "crc": (0, lambda seq: damaged(wire.lease(seq + 1, 1, 250, 900, 7, 0, 0))),
    "length": (0, lambda seq: wire.frame(bytes([1, wire.TRIP]) + seq.to_bytes(4, "little") + b"x")),
    "endless": (0, lambda _: b"x" * 200 + b"\0"),
    "version": (1, lambda seq: wire.frame(bytes([2, wire.TRIP]) + (seq + 1).to_bytes(4, "little"))),
    "replay": (2, lambda seq: wire.lease(seq, 1, 250, 900, 7, 0, 0)),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_frame_is_counted_and_dropped_and_too_many_trip(host: Any, pico: Any, bad: str) -> None:
    which, frame = BAD[bad]
    host.arm()
    before = host.link.counters[which]
    host.transport.write(frame(host.link._seq))
    host.until(lambda: host.link.counters[which] == before + 1, "counted")
    host.for_s(0.1)
    assert (host.last.state, host.link.counters[which]) == (wire.ARMED, before + 1)
    assert pico.vented
    for _ in range(25):
        host.transport.write(frame(host.link._seq))
    host.until(host.state(wire.TRIPPED), "tripped")
    assert host.last.trip == "frame_budget"


def test_what_raises_in_the_loop_drops_the_lines_and_resets_the_board(host: Any, pico: Any) -> None:
    host.pump()
    boot_id = host.last.boot_id
    pico.say("broken", True)
    host.until(lambda: ("reset", 0) in [(gpio, value) for _, gpio, value in pico.changes()], "the board has reset")
    pico.say("broken", False)
    before_reset = []
    for _, gpio, value in pico.changes():
        if gpio == "reset":
            break
        before_reset.append((gpio, value))
    assert {(PUMP1, 0), (ENABLE1, 0), (VENT1, 0), (DUMP1, 0)} <= set(before_reset[-5:])  # and the heartbeat
    host.until(lambda: host.last.boot_id != boot_id, "another boot")
    assert host.link.boot_id == boot_id  # an unexpected boot id: the core's rules trip on it
    host.for_s(0.3)
    assert (pico.vented, host.last.state) == (True, wire.VENTED)
    host.link.reset()  # a person
    host.until(lambda: host.link.boot_id == host.last.boot_id, "taken over")
    host.pump()


def test_a_loop_that_hangs_starves_its_watchdog(host: Any, pico: Any) -> None:
    host.pump()
    began_s = time.monotonic()
    pico.say("hang", True)
    host.until(lambda: pico.starved, "its watchdog has reset the board")
    starved_s = time.monotonic()
    pico.say("hang", False)
    assert starved_s - began_s < 0.2 + 2 * ALLOWED_S
    host.until(lambda: pico.starts == 2 and host.last.boot_id != host.link.boot_id, "another boot")
    host.for_s(0.2)
    assert pico.vented


def test_the_watchdog_runs_from_the_first_arm_on_and_bears_what_follows(host: Any, pico: Any) -> None:
    host.greet()
    assert "watchdog" not in {gpio for _, gpio, _ in pico.changes()}
    host.arm()
    host.link.disarm()
    host.until(host.state(wire.VENTED), "disarmed")
    host.arm()
    assert [value for _, gpio, value in pico.changes() if gpio == "watchdog"] == [200]
    host.for_s(0.5)
    assert (pico.starts, pico.starved) == (1, 0)


def test_unplugged_is_a_fault_in_the_same_poll_and_plugged_in_again_waits_for_a_person(host: Any, pico: Any) -> None:
    host.pump()
    boot_id = host.link.boot_id
    pico.unplug()
    host.tick()
    assert "check its cable" in host.link.fault
    host.for_s(0.5)
    assert str(pico.port) in host.link.fault
    host.statuses.clear()
    pico.plug()
    host.until(lambda: host.statuses and not host.link.fault, "the link is back")
    host.for_s(0.7)  # asking for the pump all the while
    assert (pico.vented, host.last.state, host.link.boot_id) == (True, wire.VENTED, boot_id)
    assert host.last.boot_id != boot_id
    host.link.reset()
    host.link.arm((250.0,), (600.0,), time.monotonic())
    host.until(lambda: pico.lines().get(int(ENABLE1)), "pumping again")


def test_settings_that_are_wrong_leave_everything_low_and_the_console_open(host: Any, pico: Any) -> None:
    pico.unplug()
    (pico.flash / "bench.json").write_text('{"estop": 2}')
    pico.plug()
    host.until(lambda: pico.in_console, "the board is in its console")
    assert "GPIO 2 is already estop" in pico.said()
    assert pico.vented


def test_once_armed_it_is_not_taken_out_of_its_loop(host: Any, pico: Any) -> None:
    host.arm()
    host.link.disarm()
    host.until(host.state(wire.VENTED), "disarmed")
    host.transport.write(wire.maintenance(host.link._next_seq(), host.last.boot_id, host.last.guard_ms))
    host.until(lambda: host.link.refusal == "not in this state", "refused")
    host.for_s(0.1)
    assert not pico.in_console


# --- what goes right ---------------------------------------------------------------------------------------------


def test_it_starts_vented_greets_and_says_how_it_is_50_times_a_second(host: Any, pico: Any) -> None:
    host.greet()
    host.statuses.clear()
    host.for_s(1.0)
    assert pico.vented
    assert pico.starts == 1
    assert {(status.state, status.trip, status.estop_ok) for status in host.statuses} == {(0, "", True)}
    steps = [later.guard_ms - earlier.guard_ms for earlier, later in pairwise(host.statuses)]
    assert sorted(steps)[len(steps) // 2] in range(19, 23), steps
    assert abs(host.last.channels[0].b_mmhg) < 0.1
    beats = [value for _, gpio, value in pico.changes() if gpio == HEARTBEAT]
    assert beats[-10:] in ([0, 1] * 5, [1, 0] * 5)  # as a loop toggles it


def test_leases_drive_the_lines(host: Any, pico: Any) -> None:
    host.pump()
    assert {gpio: value for gpio, value in pico.lines().items() if gpio != int(HEARTBEAT)} == {
        int(PUMP1): 600 * 65535 // 1000,
        int(ENABLE1): 1,
        int(VENT1): 1,
        int(DUMP1): 1,
    }
    host.until(lambda: host.last.channels[0].pump_enabled, "the status says so too")
    assert host.last.channels[0].pump_duty == pytest.approx(0.6)


def test_maintenance_opens_the_console_and_a_reset_ends_it(host: Any, pico: Any) -> None:
    host.greet()
    host.transport.write(wire.maintenance(host.link._next_seq(), host.last.boot_id, host.last.guard_ms))
    host.until(lambda: host.last.state == wire.FLASHING, "the guard says that it leaves its loop")
    host.until(lambda: pico.in_console, "the board is in its console")
    assert {value for gpio, value in _lines_at_the_end(pico).items() if gpio != HEARTBEAT} == {0}
    boot_id = host.last.boot_id
    pico.reset()
    host.until(lambda: host.last.boot_id != boot_id, "it guards again")


def _lines_at_the_end(pico: Any) -> dict[str, int]:
    return {gpio: value for _, gpio, value in pico.changes()}
