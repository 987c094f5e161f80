"""Everything that can be made to go wrong in a simulated session, and when.

A fault is two functions on the lived scenario: one that breaks something, one that mends it. They touch physics, wires,
boards and people, never the control code. `NAME@WHEN[+SECONDS][:FOR][#CUFF]`: WHEN is seconds since start, `boot` or a
phase (its first entry); without FOR it lasts to the end; without CUFF it is cuff 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from random import Random
from typing import TYPE_CHECKING, Final

from ..core.model import Phase, Verb
from ..core.step import Stepped
from ..settings import SensorKind, SensorSettings
from ..simulation import device_for

if TYPE_CHECKING:
    from .run import Lived

Act = Callable[["Lived", int, float], None]  # lived scenario, cuff from 0, now_s


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong. `answer`: the rule or invariant that should answer."""

    name: str
    does: str
    answer: str
    begin: Act
    end: Act
    of_a: str = ""  # what of sensor A's device it sets: a family whose device has none of it has no such fault


def _on(part: str, attribute: str, broken: object, sound: object) -> tuple[Act, Act]:
    """Set an attribute of the cuff's part, and set it back."""

    def begin(lived: Lived, cuff: int, _now_s: float) -> None:
        setattr(getattr(lived.bench, part)[cuff], attribute, broken)

    def end(lived: Lived, cuff: int, _now_s: float) -> None:
        setattr(getattr(lived.bench, part)[cuff], attribute, sound)

    return begin, end


def _on_a(attribute: str, broken: object, sound: object) -> tuple[Act, Act, str]:
    """Set an attribute of sensor A's device, which not every family has."""
    return *_on("a_devices", attribute, broken, sound), attribute


def _on_guard(attribute: str, broken: object, sound: object, line: str = "") -> tuple[Act, Act]:
    """Set an attribute of the guard's board, or of one direction of its line."""

    def begin(lived: Lived, _cuff: int, _now_s: float) -> None:
        setattr(getattr(lived.bench.guard, line) if line else lived.bench.guard, attribute, broken)

    def end(lived: Lived, _cuff: int, _now_s: float) -> None:
        setattr(getattr(lived.bench.guard, line) if line else lived.bench.guard, attribute, sound)

    return begin, end


def _both(*pairs: tuple[Act, Act]) -> tuple[Act, Act]:
    """Several at once."""

    def begin(lived: Lived, cuff: int, now_s: float) -> None:
        for one, _ in pairs:
            one(lived, cuff, now_s)

    def end(lived: Lived, cuff: int, now_s: float) -> None:
        for _, one in pairs:
            one(lived, cuff, now_s)

    return begin, end


def _nothing(_lived: Lived, _cuff: int, _now_s: float) -> None:
    """There is nothing to mend, or nothing to do at the end."""


def _reboot(lived: Lived, _cuff: int, now_s: float) -> None:
    lived.bench.guard.reboot(now_s)


def _stick(lived: Lived, cuff: int, _now_s: float) -> None:
    """The reading stays where it is, noise and all: no frozen counts give it away."""
    lived.bench.a_devices[cuff].stuck_mmhg = lived.bench.cuffs[cuff].manifold_mmhg


def _unstick(lived: Lived, cuff: int, _now_s: float) -> None:
    lived.bench.a_devices[cuff].stuck_mmhg = None


def _stick_b(lived: Lived, cuff: int, _now_s: float) -> None:
    lived.bench.b_devices[cuff].stuck_mmhg = lived.bench.cuffs[cuff].cuff_mmhg


def _unstick_b(lived: Lived, cuff: int, _now_s: float) -> None:
    lived.bench.b_devices[cuff].stuck_mmhg = None


def _swap(lived: Lived, cuff: int, _now_s: float) -> None:
    """The control sensor's tube is on something that is not this cuff: it sees the room."""
    lived.bench.a_devices[cuff].stuck_mmhg = 0.0


def _exchange(lived: Lived, _cuff: int, _now_s: float) -> None:
    """The tubes of both sensors A are on each other's cuff."""
    devices = lived.bench.a_devices
    if len(devices) == 2:
        devices[0].exchange(devices[1])


def _stall(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.stalled = True


def _unstall(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.stalled = False


def _away(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.supervisor.away = True


def _back(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.supervisor.away = False


def _say(*verbs: Verb) -> Act:
    def begin(lived: Lived, _cuff: int, _now_s: float) -> None:
        for verb in verbs:
            lived.supervisor.say(verb)

    return begin


def _spasm(lived: Lived, cuff: int, now_s: float) -> None:
    lived.bench.limbs[cuff].clench(now_s, 120.0)


def _relax(lived: Lived, cuff: int, now_s: float) -> None:
    lived.bench.limbs[cuff].end_set(now_s)


def _full(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.disk.fill(True)


def _room(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.disk.fill(False)


def _broker_gone(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.publisher.gone = True


def _broker_back(lived: Lived, _cuff: int, _now_s: float) -> None:
    lived.publisher.gone = False


_PUMP_ON: Final = _both(_on("cuffs", "pump_stuck_duty", 1.0, None), _on("cuffs", "pump_enable_stuck", True, False))

FAULTS: Final = {
    fault.name: fault
    for fault in (
        # sensor A
        Fault("a_unplugged", "sensor A does not acknowledge", "stale_sample", *_on_a("nack", True, False)),
        Fault("a_hangs", "sensor A holds its bus", "stale_sample", *_on_a("hang", True, False)),
        Fault("a_breaks_off", "transfers of A break off", "stale_sample", *_on_a("broken", True, False)),
        Fault("a_latched_up", "A: zero counts, good status", "stale_sample", *_on_a("latched_up", True, False)),
        Fault("a_memory", "A: memory error", "stale_sample", *_on_a("memory_error", True, False)),
        Fault("a_saturated", "A: off its scale", "stale_sample", *_on_a("saturated", True, False)),
        Fault("a_all_ones", "A: nothing drives the bus", "stale_sample", *_on_a("all_ones", True, False)),
        Fault("a_busy", "A never ends its conversion", "stale_sample", *_on_a("stuck_busy", True, False)),
        Fault("a_browned_out", "A's converter has lost its configuration (mpx5050)", "stale_sample", *_on_a("browned_out", True, False)),
        Fault("a_frozen", "A repeats its counts", "frozen_sample or sensors_disagree", *_on_a("frozen", True, False)),
        Fault("a_stuck", "A stays at its pressure, with noise", "sensors_disagree or no_fall", _stick, _unstick),
        Fault("a_reads_high", "A reads 40 mmHg too much", "sensors_disagree, over_pressure or no_fall", *_on_a("offset_mmhg", 40.0, 0.0)),
        Fault("a_reads_low", "A reads 40 mmHg too little", "sensors_disagree, or stale_sample where that is below its scale", *_on_a("offset_mmhg", -40.0, 0.0)),
        # sensor B
        Fault("b_missing", "the guard gets nothing of sensor B", "guard: sensor_lost", *_on("b_devices", "nack", True, False)),
        Fault("b_frozen", "B repeats its counts", "sensors_disagree, tube_blocked or over_pressure", *_on("b_devices", "frozen", True, False)),
        Fault("b_stuck", "B stays at its pressure, with noise", "sensors_disagree, tube_blocked or over_pressure", _stick_b, _unstick_b),
        Fault("b_reads_high", "B reads 40 mmHg too much", "sensors_disagree or tube_blocked", *_on("b_devices", "offset_mmhg", 40.0, 0.0)),
        Fault("b_reads_low", "B reads 40 mmHg too little", "sensors_disagree, over_pressure or guard: sensor_lost", *_on("b_devices", "offset_mmhg", -40.0, 0.0)),
        # bus
        Fault("bus_hangs", "every transfer on A's bus times out", "stale_sample", *_on("a_buses", "error", 110, None)),
        # pump
        Fault("pump_stuck_on", "both switches of the pump conduct", "not_released: take the cuff off", *_PUMP_ON),
        Fault("pump_pwm_stuck", "the PWM switch conducts; the enable still works", "none needed: the enable stops it", *_on("cuffs", "pump_stuck_duty", 1.0, None)),
        Fault("pump_stuck_vent_stuck", "pump on for good, vent stuck closed", "above_target, over_pressure or no_fall: take the cuff off", *_both(_PUMP_ON, _on("cuffs", "vent_stuck", "closed", None))),
        Fault("pump_stuck_dump_stuck", "pump on for good, dump stuck closed", "no_fall: take the cuff off", *_both(_PUMP_ON, _on("cuffs", "dump_stuck", "closed", None))),
        Fault("pump_enable_stuck", "the enable switch conducts; the PWM still works", "none in a session; the self-test's pwm_alone", *_on("cuffs", "pump_enable_stuck", True, False)),
        Fault("pump_dead", "the pump moves no air", "no_rise", *_on("cuffs", "pump_weak", 0.0, 1.0)),
        Fault("pump_weak", "the pump moves a fifth of its air", "inflate_timeout or no_rise", *_on("cuffs", "pump_weak", 0.2, 1.0)),
        # zero: little enough not to be noticed at rest
        Fault("a_off_zero", "A reads 12 mmHg too much", "not ready; in a session sensors_disagree; the self-test's zero", *_on("a_devices", "offset_mmhg", 12.0, 0.0)),
        Fault("b_off_zero", "B reads 12 mmHg too little", "not ready; in a session sensors_disagree; the self-test's zero", *_on("b_devices", "offset_mmhg", -12.0, 0.0)),
        # valves
        Fault("vent_stuck_closed", "the vent stays shut", "the dump empties; above_target where it could not bleed", *_on("cuffs", "vent_stuck", "closed", None)),
        Fault("dump_stuck_closed", "the dump stays shut", "the vent empties", *_on("cuffs", "dump_stuck", "closed", None)),
        Fault("vent_stuck_open", "the vent stays open", "no_rise or sensors_disagree", *_on("cuffs", "vent_stuck", "open", None)),
        Fault("dump_stuck_open", "the dump stays open", "no_rise or sensors_disagree", *_on("cuffs", "dump_stuck", "open", None)),
        # tube
        Fault("tube_kinked", "the cuff is closed off from its valves", "over_pressure, sensors_disagree or tube_blocked: take the cuff off", *_on("cuffs", "tube_kinked", True, False)),
        Fault("tube_swapped", "A is not on this cuff but in the room", "sensors_disagree", _swap, _unstick),
        Fault("sensors_exchanged", "each A is on the other cuff", "sensors_disagree; the self-test's alone", _exchange, _exchange),
        Fault("tube_seeps", "the tube loses 8 mmHg a minute", "none in a session; the self-test's leak", *_on("cuffs", "leak_extra_mmhg_per_min", 8.0, 0.0)),
        Fault("tube_leaks", "the tube loses 600 mmHg a minute", "topped up; leak where the pump finds no pause", *_on("cuffs", "leak_extra_mmhg_per_min", 600.0, 0.0)),
        Fault("tube_off", "the tube is off its coupling", "no_rise or inflate_timeout", *_on("cuffs", "tube_off", True, False)),
        # link
        Fault("link_unplugged", "the cable to the guard is out", "guard_lost", *_on_guard("unplugged", True, False)),
        Fault("link_corrupt", "every frame is damaged", "guard_lost; guard: frame_budget", *_both(_on_guard("corrupt", 1.0, 0.0, "to_guard"), _on_guard("corrupt", 1.0, 0.0, "to_host"))),
        Fault("link_deaf", "nothing reaches the guard", "guard: lease_expired", *_on_guard("silent", True, False, "to_guard")),
        Fault("link_mute", "nothing comes from the guard", "guard_lost", *_on_guard("silent", True, False, "to_host")),
        Fault("link_backlog", "frames to the guard are kept back", "guard: lease_expired", *_on_guard("held", True, False, "to_guard")),
        Fault("link_doubled", "every frame to the guard comes twice", "guard: frame_budget", *_on_guard("duplicate", 1.0, 0.0, "to_guard")),
        # guard
        Fault("guard_hung", "the guard's loop stands still", "guard_lost; the monostable drops the supply", *_on_guard("hung", True, False)),
        Fault("guard_reboot", "the guard restarts", "guard_lost, then guard_rebooted", _reboot, _nothing),
        Fault("guard_clock_fast", "the guard's clock runs a tenth fast", "none needed", *_on_guard("clock_drift", 1.1, 1.0)),
        Fault("estop", "the stop in the patient's hand is pressed", "stop_button", *_on_guard("estop_open", True, False)),
        # control's clock
        Fault("control_stalls", "the control process stands still", "guard: lease_expired; tick_late", _stall, _unstall),
        # operator
        Fault("operator_away", "nobody gives a sign any more", "unattended", _away, _back),
        Fault("operator_starts_twice", "a second start", "refused", _say(Verb.START), _nothing),
        Fault("operator_stops", "stop, then everything that could inflate", "stopped; nothing inflates", _say(Verb.STOP, Verb.START, Verb.NEXT, Verb.PRESENT), _nothing),
        Fault("operator_pauses", "pause, and nobody goes on", "ended after 5 min", _say(Verb.PAUSE), _nothing),
        Fault("operator_lowers", "five times lower", "each time 10 mmHg less; released below 40 % of LOP", _say(*[Verb.LOWER] * 5), _nothing),
        # limb
        Fault("limb_spasm", "the limb swells by 120 mL", "guard: ceiling; over_pressure, above_lop or above_target", _spasm, _relax),
        # journal and broker
        Fault("journal_full", "the disk is full", "journal_failed; control goes on", _full, _room),
        Fault("broker_gone", "the broker is gone", "broker_lost; control goes on", _broker_gone, _broker_back),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault with its time and place."""

    fault: Fault
    at_s: float | None = None  # since start; None: at boot, or with a phase
    phase: Phase | None = None
    after_s: float = 0.0  # into the phase
    for_s: float | None = None
    cuff: int = 0

    def __str__(self) -> str:
        when = str(self.phase) if self.phase is not None else "boot" if self.at_s is None else f"{self.at_s:g}"
        lasts = "" if self.for_s is None else f":{self.for_s:g}"
        return f"{self.fault.name}@{when}{f'+{self.after_s:g}' if self.after_s else ''}{lasts}#{self.cuff + 1}"


_FORM: Final = re.compile(
    r"(?P<name>[a-z_]+)@(?P<when>[a-z]+|[0-9.]+)(\+(?P<plus>[0-9.]+))?(:(?P<lasts>[0-9.]+))?(#(?P<cuff>[0-9]+))?"
)
_MOST_S: Final = 7200.0


def possible(fault: Fault, sensor: SensorKind) -> bool:
    """Whether a sensor A of this family has such a fault."""
    if not fault.of_a:
        return True
    return hasattr(device_for(SensorSettings(bus=1, kind=sensor), lambda _now_s: 0.0, Random(0), 0.0, 0.0), fault.of_a)


def parse(text: str, cuffs: int, sensor: SensorKind = "abp2") -> Planned:
    """`NAME@WHEN[+SECONDS][:FOR][#CUFF]`, on a bench whose sensors A are of this family. Raises ValueError with a
    sentence."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"--fault = {text}: must be NAME@WHEN[+SECONDS][:FOR][#CUFF]")
    fault = FAULTS.get(match["name"])
    if fault is None:
        raise ValueError(f"--fault = {text}: {match['name']} must be one of --list-faults")
    if not possible(fault, sensor):
        raise ValueError(
            f"--fault = {text}: {fault.name} must be a fault that sensor A can have, and an {sensor} cannot"
        )
    cuff = int(match["cuff"] or 1)
    if not 1 <= cuff <= cuffs:
        raise ValueError(f"--fault = {text}: cuff {cuff} must be 1 to {cuffs}")
    lasts = _seconds(match["lasts"], text) if match["lasts"] else None
    plus = _seconds(match["plus"], text) if match["plus"] else 0.0
    when = match["when"]
    if when == "boot":
        return Planned(fault, None, None, plus, lasts, cuff - 1)
    if when[0].isalpha():
        if when not in set(Phase):
            raise ValueError(f"--fault = {text}: {when} must be seconds, boot, or one of {', '.join(Phase)}")
        return Planned(fault, None, Phase(when), plus, lasts, cuff - 1)
    return Planned(fault, _seconds(when, text) + plus, None, 0.0, lasts, cuff - 1)


def _seconds(text: str, whole: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= _MOST_S:
        raise ValueError(f"--fault = {whole}: {text} must be 0 to {_MOST_S:g} s")
    return seconds


class Schedule:
    """Breaks and mends at the planned instants, judged after each tick."""

    def __init__(self, planned: tuple[Planned, ...], lived: Lived) -> None:
        self._lived = lived
        self._waiting = list(planned)
        self._entered: dict[Phase, float] = {}
        self._ends: list[tuple[float, Planned]] = []
        self.began_s: dict[str, float] = {}  # when each fault began, by its name

    @property
    def never_began(self) -> tuple[str, ...]:
        """What was planned and has not come yet."""
        return tuple([str(one) for one in self._waiting])

    def boot(self, now_s: float) -> None:
        """What is broken before the first tick."""
        for one in [one for one in self._waiting if one.at_s is None and one.phase is None]:
            self._waiting.remove(one)
            self._begin(one, now_s)

    def after(self, stepped: Stepped, now_s: float) -> None:
        """One tick."""
        if not self._waiting and not self._ends:
            return
        self._entered.setdefault(stepped.state.session.phase, now_s)
        for one in [one for one in self._waiting if self._due_s(one) <= now_s + 1e-9]:
            self._waiting.remove(one)
            self._begin(one, now_s)
        self.mend(now_s)

    def mend(self, now_s: float) -> None:
        """End what has lasted long enough."""
        for end in [end for end in self._ends if end[0] <= now_s + 1e-9]:
            self._ends.remove(end)
            end[1].fault.end(self._lived, end[1].cuff, now_s)

    def _due_s(self, one: Planned) -> float:
        if one.phase is not None:
            return self._entered.get(one.phase, 1e18) + one.after_s
        began_s = self._lived.measure.began_s
        return began_s + (one.at_s or 0.0) if isfinite(began_s) else 1e18

    def _begin(self, one: Planned, now_s: float) -> None:
        one.fault.begin(self._lived, one.cuff, now_s)
        self.began_s[one.fault.name] = now_s
        if one.for_s is not None:
            self._ends.append((now_s + one.for_s, one))
