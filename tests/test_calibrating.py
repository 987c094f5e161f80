"""Zeroing and calibrating: what goes wrong writes nothing; what goes right is what a pencil says.

Real drivers, wire, link and guard on simulated buses; the pressure is the test's, and so is the person.
"""

from __future__ import annotations

import errno
import socket
import tempfile
from collections.abc import Callable
from datetime import date
from math import nan, sin
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs

from controller import calibrating
from controller.calibrating import Bedside, GuardSilent, NotDone, Reference, calibrate, how_to_connect, settled, zero
from controller.calibration import fitted
from controller.calibration_file import FILE, Correction, Entry, load_entries, save_entry
from controller.gauges import BenchGauges, chosen, open_gauges
from controller.settings import Settings, load
from controller.tomlfile import BadInput
from firmware_bridge.firmware import wire
from firmware_bridge.link import HostLink
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus
from firmware_bridge.simulated.guard import PassClock, SimulatedGuard

TODAY = date(2026, 11, 25)
BENCH = """bench_id = "b1"
[guard]
kind = "gpio"
gpio = { estop_gpio = 6, heartbeat_gpio = 17 }
[[cuffs]]
sensor = { bus = 1, serial = "A-1" }
sensor_b = { bus = 3, serial = "B-1" }
lines = { pump_gpio = 12, pump_enable_gpio = 16, vent_gpio = 20, dump_gpio = 21 }
"""
A, B = 0, 1


class Lines:
    """A cuff that has no pump and no valves of its own."""

    def __init__(self) -> None:
        self.pump_duty = 0.0
        self.pump_enabled = False
        self.vent_open = True
        self.dump_open = True

    def advance(self, to_s: float) -> None: ...


class Listening:
    """The link's transport, with an ear on what is said to the guard."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._decoder = wire.Decoder()
        self.said: set[int] = set()

    def write(self, data: bytes) -> None:
        self.said |= {message[1] for message in self._decoder.feed(data)}
        self._inner.write(data)

    def read(self) -> bytes:
        return bytes(self._inner.read())


class Rig:
    """One cuff's sensors on one pressure. Each sensor reads `gain * pressure + offset` of its own."""

    def __init__(self, folder: Path, given: Correction | None = None) -> None:
        path = folder / "bench.toml"
        path.write_text(BENCH, encoding="utf-8")
        self.settings: Settings = load(path)
        self.path = folder / FILE
        self.now_s = 100.0
        self.pressure: Callable[[float], float] = lambda _now_s: 0.0
        self.gain = [1.0, 1.0]
        clock = PassClock(self.now_s)
        bus_b, bus_a = SimulatedBus(clock), SimulatedBus(lambda: self.now_s)
        self.devices = [Abp2Device(self._felt(A), Random(1), 0.15), Abp2Device(self._felt(B), Random(2), 0.15)]
        bus_a.devices[0x28], bus_b.devices[0x28] = self.devices
        self.bus_a = bus_a
        sensor_b = Abp2(bus_b, 0x28, "sensor B of cuff 1")
        given = Correction() if given is None else given
        self.board = SimulatedGuard((Lines(),), (sensor_b,), clock, start_s=self.now_s)
        self.heard = Listening(self.board.transport(lambda: self.now_s))
        link = HostLink(self.heard, iter(range(1, 10_000)).__next__)
        self.gauges = BenchGauges(
            fitted(self.settings),
            (Abp2(bus_a, 0x28, "sensor A of cuff 1"),),
            link,
            (given,),
            lambda: self.now_s,
            self._wait,
        )

    def _felt(self, index: int) -> Callable[[float], float]:
        return lambda now_s: self.pressure(now_s) * self.gain[index]

    def _wait(self, seconds: float) -> None:
        self.now_s += seconds

    def at(self, mmhg: float) -> None:
        self.pressure = lambda _now_s: mmhg

    def offsets(self, a: float, b: float) -> None:
        self.devices[A].offset_mmhg, self.devices[B].offset_mmhg = a, b


class Person:
    """Does as told: pumps to the next pressure when it is time, and types the next thing when asked."""

    def __init__(self, rig: Rig, pumped: list[float], typed: list[str]) -> None:
        self._rig = rig
        self._pumped = list(pumped)
        self._typed = ["", *typed]
        self.told: list[str] = []
        self.asked = 0

    @property
    def bedside(self) -> Bedside:
        return Bedside(self._tell, self._ask)

    def _tell(self, text: str) -> None:
        self.told.append(text)
        if text.startswith("close the pump's valve") and self._pumped:
            self._rig.at(self._pumped.pop(0))

    def _ask(self, _question: str) -> str:
        self.asked += 1
        self._rig.now_s += 7.0  # nobody looks meanwhile
        if not self._typed:
            raise NotDone("nobody answers")
        return self._typed.pop(0)


def nobody(rig: Rig) -> Bedside:
    return Person(rig, [], []).bedside


def zeroed(rig: Rig, which: tuple[int, ...] = (A, B)) -> list[Entry]:
    return zero(rig.gauges, which, rig.path, TODAY, nobody(rig))


def held(rig: Rig, index: int, pumped: list[float], typed: list[str]) -> tuple[Entry, Person]:
    person = Person(rig, pumped, typed)
    return calibrate(rig.gauges, index, rig.path, TODAY, person.bedside, Reference("R-7", "AB")), person


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


# --- what does not hold still, or is not vented ------------------------------------------------------------------


@pytest.mark.parametrize("rate_mmhg_s", [0.8, -0.8, 5.0])
def test_a_pressure_that_drifts_is_no_zero(rig: Rig, rate_mmhg_s: float) -> None:
    rig.pressure = lambda now_s: rate_mmhg_s * (now_s - 115.0)
    with pytest.raises(NotDone, match=r"^did not hold still to within 0\.5 mmHg for 2 s, in 30 s \("):
        zeroed(rig)
    assert not rig.path.exists()


def test_a_pressure_that_swings_is_no_zero(rig: Rig) -> None:
    rig.pressure = lambda now_s: 1.0 * sin(4.0 * now_s)
    with pytest.raises(NotDone, match="did not hold still"):
        zeroed(rig)


@pytest.mark.parametrize("rate_mmhg_s", [0.0, 0.3])
def test_noise_and_a_slow_drift_are_still(rig: Rig, rate_mmhg_s: float) -> None:
    rig.pressure = lambda now_s: rate_mmhg_s * (now_s - 100.0)
    a, _ = settled(rig.gauges, (A, B), lambda _: None)
    assert a.spread_mmhg <= 0.5
    assert a.temperature_c == pytest.approx(25.0, abs=0.1)


def test_it_has_held_still_only_after_two_whole_seconds(rig: Rig) -> None:
    rig.pressure = lambda now_s: 3.0 if now_s < 101.0 else 0.0
    (steady,) = settled(rig.gauges, (A,), lambda _: None)
    assert rig.now_s >= 102.9
    assert steady.mmhg == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("index", [A, B])
@pytest.mark.parametrize("offset_mmhg", [10.3, -10.3, 60.0])
def test_a_zero_beyond_10_mmhg_is_refused_and_no_sensor_is_zeroed(rig: Rig, index: int, offset_mmhg: float) -> None:
    rig.devices[index].offset_mmhg = offset_mmhg
    name = f"sensor {'AB'[index]} of cuff 1"
    with pytest.raises(NotDone, match=rf"^{name} reads -?\d+\.\d mmHg while vented, must be within 10 mmHg of zero"):
        zeroed(rig)
    assert not rig.path.exists()


def test_a_guard_that_is_not_there(rig: Rig) -> None:
    rig.board.unplugged = True
    with pytest.raises(GuardSilent, match="the link to the guard is down"):
        zeroed(rig)
    assert rig.now_s < 104.0
    assert not rig.path.exists()


def test_a_guard_that_falls_silent_on_the_way(rig: Rig) -> None:
    settled(rig.gauges, (A, B), lambda _: None)
    rig.board.hung = True
    with pytest.raises(GuardSilent, match="the guard has said nothing"):
        zeroed(rig)


@pytest.mark.parametrize("index", [A, B])
def test_no_sensor_is_read_under_a_guard_that_is_silent(rig: Rig, index: int) -> None:
    rig.board.hung = True
    with pytest.raises(GuardSilent):
        zeroed(rig, (index,))


def test_a_guard_that_is_armed_or_holds_a_valve_is_not_vented() -> None:
    from controller.gauges import _unvented
    from firmware_bridge.ports import Channel, Status

    vented = Channel(0.0, 0.0, False, True, True)
    assert _unvented(Status(0.0, 1, 1, wire.VENTED, "", -1, True, (vented, vented))) == ""
    assert _unvented(Status(0.0, 1, 1, wire.TRIPPED, "estop", -1, False, (vented,))) == ""  # the stop is pressed: fine
    assert "is armed" in _unvented(Status(0.0, 1, 1, wire.ARMED, "", -1, True, (vented,)))
    for one in (
        Channel(0.0, 0.0, True, True, True),
        Channel(0.0, 0.0, False, False, True),
        Channel(0.0, 0.0, False, True, False),
    ):
        assert "does not say" in _unvented(Status(0.0, 1, 1, wire.VENTED, "", -1, True, (vented, one)))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"nack": True}, r"bus error 121 \(EREMOTEIO\)"),
        ({"latched_up": True}, "it has latched up"),
        ({"all_ones": True}, "nothing drives the bus"),
    ],
)
def test_a_sensor_that_gives_no_reading_says_what_it_said(rig: Rig, fault: dict[str, bool], says: str) -> None:
    for name, value in fault.items():
        setattr(rig.devices[A], name, value)
    with pytest.raises(NotDone, match=rf"^sensor A of cuff 1 at 0x28: .*{says}"):
        zeroed(rig)
    assert not rig.path.exists()


def test_a_sensor_b_without_reading(rig: Rig) -> None:
    rig.devices[B].nack = True
    with pytest.raises(NotDone, match="sensor B of cuff 1: the guard has no reading of it"):
        zeroed(rig)


def test_one_bad_transfer_begins_the_two_seconds_anew(rig: Rig) -> None:
    def wait(seconds: float) -> None:
        rig.now_s += seconds
        rig.bus_a.error = errno.EIO if 101.49 < rig.now_s < 101.51 else None

    rig.gauges._wait = wait
    settled(rig.gauges, (A,), lambda _: None)
    assert 103.5 <= rig.now_s < 104.0


def test_a_clock_that_was_never_set_is_noticed(rig: Rig) -> None:
    zeroed(rig)
    with pytest.raises(NotDone, match="was zeroed on 2026-11-25, which is after today, 2000-01-01: set the clock"):
        zero(rig.gauges, (A, B), rig.path, date(2000, 1, 1), nobody(rig))


def test_a_file_that_is_broken_is_found_before_anything_is_asked(rig: Rig) -> None:
    rig.path.write_text("version = 3\n")
    person = Person(rig, [], [])
    with pytest.raises(BadInput, match="version = 3"):
        zero(rig.gauges, (A, B), rig.path, TODAY, person.bedside)
    with pytest.raises(BadInput, match="version = 3"):
        calibrate(rig.gauges, A, rig.path, TODAY, person.bedside, Reference())
    assert (person.told, person.asked, rig.now_s) == ([], 0, 100.0)
    assert rig.path.read_text() == "version = 3\n"


# --- what is typed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["nan", "inf", "149.9"], "no pressure between 150 and 250 mmHg was typed in 3 tries"),
        (["", "two hundred", "2_00"], "no pressure between 150 and 250 mmHg was typed in 3 tries"),
        (["250.1", "-200", "1e3"], "no pressure between 150 and 250 mmHg was typed in 3 tries"),
        (["179.5"], r"reference = 179\.5 mmHg: must be from 180 to 220 mmHg where sensor A of cuff 1 reads 200\.0"),
        (["220.5"], r"reference = 220\.5 mmHg: must be from 180 to 220 mmHg where sensor A of cuff 1 reads 200\.0"),
        ([], "nobody answers"),
        (["200"], "nobody answers"),  # gone before the check
        (["200", "121", "79", "x"], "no pressure between 80 and 120 mmHg was typed in 3 tries"),
        (["200", "103.1"], r"sensor A of cuff 1 is still -3\.1 mmHg off at 103\.1 mmHg, must be at most 3 mmHg"),
        (["200", "96.9"], r"sensor A of cuff 1 is still \+3\.1 mmHg off at 96\.9 mmHg, must be at most 3 mmHg"),
        (["200", "84"], r"reference = 84 mmHg: must be from 85 to 115 mmHg where"),
    ],
)
def test_what_is_typed_wrongly_writes_nothing(rig: Rig, typed: list[str], says: str) -> None:
    zeroed(rig)
    before = rig.path.read_bytes()
    for device in rig.devices:
        device._noise_mmhg = 0.0
    with pytest.raises(NotDone, match=says):
        held(rig, A, [200.0, 100.0], typed)
    assert rig.path.read_bytes() == before


def test_a_sensor_that_would_need_too_much_gain_is_refused(rig: Rig) -> None:
    rig.gain[A], rig.devices[A].offset_mmhg = 0.9, 9.0  # 150 reads 144: near enough to be plausible
    with pytest.raises(NotDone, match=r"^sensor A of cuff 1 would need a gain of 1\.11\d, must be from 0\.9 to 1\.1"):
        held(rig, A, [150.0], ["150"])
    assert not rig.path.exists()


def test_a_reference_that_is_never_pumped_up_is_given_up(rig: Rig) -> None:
    with pytest.raises(NotDone, match=r"did not hold still between 132\.5 and 272\.5 mmHg .* in 300 s"):
        held(rig, A, [], ["200"])


def test_a_leak_while_it_is_typed_is_asked_again_and_given_up_after_three(rig: Rig) -> None:
    zeroed(rig)
    person = Person(rig, [], ["200", "200", "200"])
    tell = person.bedside.tell

    def leaks(text: str) -> None:
        tell(text)
        if text.startswith("close the pump's valve"):
            began_s = rig.now_s
            rig.pressure = lambda now_s: 200.0 - 0.3 * (now_s - began_s)

    with pytest.raises(NotDone, match="sensor A of cuff 1 moved each time the reference was read: look for a leak"):
        calibrate(rig.gauges, A, rig.path, TODAY, Bedside(leaks, person.bedside.ask), Reference())
    assert sum(text.startswith("it moved from") for text in person.told) == 3
    assert load_entries(rig.path)[0].two_points is None


# --- by hand -----------------------------------------------------------------------------------------------------


def test_zero_is_what_each_sensor_reads_vented(rig: Rig) -> None:
    rig.offsets(2.5, -3.1)
    a, b = zeroed(rig)
    assert (a.channel, a.serial, a.offset_mmhg) == ("A", "A-1", pytest.approx(2.5, abs=0.1))
    assert (b.channel, b.serial, b.offset_mmhg) == ("B", "B-1", pytest.approx(-3.1, abs=0.1))
    assert (a.zeroed_on, a.two_points, a.zero_temperature_c) == (TODAY, None, 25.0)
    assert b.zero_temperature_c is None  # the guard does not say
    assert load_entries(rig.path) == (a, b)


@pytest.mark.parametrize("index", [A, B])
def test_gain_offset_and_residual_by_hand(rig: Rig, index: int) -> None:
    """Reads 0.96 p + 4: vented 4, at 200 it is 196, at 100 it is 100. So gain = 200 / 192 = 1.0417, nothing left."""
    rig.gain[index] = 0.96
    rig.devices[index].offset_mmhg = 4.0
    entry, person = held(rig, index, [200.0, 100.0], ["200", "100,0"])
    two = entry.two_points
    assert two is not None
    assert entry.offset_mmhg == two.zero_reading_mmhg == pytest.approx(4.0, abs=0.1)
    assert two.gain == pytest.approx(200.0 / 192.0, abs=0.001)
    assert (two.reading_mmhg, two.check_reading_mmhg) == (pytest.approx(196.0, abs=0.1), pytest.approx(100.0, abs=0.1))
    assert two.residual_mmhg == pytest.approx(0.0, abs=0.2)
    assert (two.reference_mmhg, two.check_reference_mmhg) == (200.0, 100.0)
    assert (two.calibrated_on, two.reference, two.by) == (TODAY, "R-7", "AB")
    assert load_entries(rig.path) == (entry,)
    assert person.asked == 3
    assert person.told[:3] == list(how_to_connect(rig.gauges.sensors[index]))
    assert any(text.startswith(f"sensor {'AB'[index]} of cuff 1: ") for text in person.told)  # progress


def test_what_is_left_at_the_check_is_kept(rig: Rig) -> None:
    two = held(rig, A, [200.0, 100.0], ["200", "98"])[0].two_points
    assert two is not None
    assert two.residual_mmhg == pytest.approx(2.0, abs=0.2)


def test_the_guards_own_correction_of_b_is_undone(tmp_path: Path) -> None:
    """The guard shows 1.05 * (b - 4) for a sensor that reads b: what is calibrated is b."""
    rig = Rig(tmp_path, given=Correction(1.05, 4.0))
    rig.gain[B] = 1.05 * 0.96
    rig.devices[B].offset_mmhg = 1.05 * (3.0 - 4.0)  # the guard's word, as if the sensor read 0.96 p + 3
    entry, _ = held(rig, B, [200.0, 100.0], ["200", "100"])
    assert entry.offset_mmhg == pytest.approx(3.0, abs=0.1)
    assert entry.correction.gain == pytest.approx(1.0 / 0.96, abs=0.002)


def test_zeroing_keeps_the_calibration_of_the_same_sensor_and_no_other(rig: Rig) -> None:
    entry, _ = held(rig, A, [200.0, 100.0], ["200", "100"])
    rig.at(0.0)
    rig.offsets(1.5, 0.0)
    (again,) = zeroed(rig, (A,))
    assert (again.two_points, again.offset_mmhg) == (entry.two_points, pytest.approx(1.5, abs=0.1))
    save_entry(rig.path, structs.replace(again, serial="A-0"))  # what was there before this one
    (other,) = zeroed(rig, (A,))
    assert (other.serial, other.two_points) == ("A-1", None)


def test_nothing_but_hello_is_ever_said_to_the_guard(rig: Rig) -> None:
    zeroed(rig)
    held(rig, B, [200.0, 100.0], ["200", "100"])
    assert rig.heard.said == {wire.HELLO}
    assert rig.board.guard.state == wire.VENTED


def test_the_gauge_says_where_to_connect_what() -> None:
    sensors = fitted(load_bench())
    where = ("clamp the tube on the manifold's side", "clamp the tube on the cuff's side")
    for sensor, clamp in zip(sensors, where, strict=True):
        lines = how_to_connect(sensor)
        assert "take the cuff off the limb" in lines[0]
        assert clamp in lines[1]


def load_bench() -> Settings:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "bench.toml")
        path.write_text(BENCH, encoding="utf-8")
        return load(path)


def test_which_sensors_are_meant() -> None:
    settings = load_bench()
    assert [one.name for one in chosen(settings, None, None)] == ["sensor A of cuff 1", "sensor B of cuff 1"]
    assert [one.name for one in chosen(settings, 1, "B")] == ["sensor B of cuff 1"]
    with pytest.raises(NotDone, match="bench b1 has no sensor A of cuff 2 in its file"):
        chosen(settings, 2, None)


def test_no_b_is_calibrated_where_nobody_knows_what_the_guard_does_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_bench()
    with tempfile.TemporaryDirectory(prefix="mz") as name, socket.socket(socket.AF_UNIX) as guard:
        folder = Path(name)
        monkeypatch.setattr("controller.gauges.runtime_folders", lambda: [folder])
        with pytest.raises(GuardSilent, match="no guard of bench b1 answers here"):  # said first
            open_gauges(settings, folder, fitted(settings))
        guard.bind(str(folder / "b1.guard.sock"))
        guard.listen()
        with pytest.raises(NotDone, match=r"nobody knows what the guard corrects its sensor B with.*restart the guard"):
            open_gauges(settings, folder, fitted(settings))


def test_a_window_without_readings_is_not_still() -> None:
    window = calibrating.Window()
    assert window.steady() is None
    assert window.last_mmhg != window.last_mmhg
    for tenth in range(30):
        window.take(tenth * 0.1, 5.0, nan)
        if tenth == 21:
            assert window.steady() == calibrating.Steady(5.0, 0.0, None)
    window.take(4.5, 5.0, nan)  # and a second and a half of nothing
    assert window.steady() is None
