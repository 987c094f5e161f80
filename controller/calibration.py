"""What a bench's sensors were last held against a reference for, and what follows from it.

`calibration.toml` in the state folder (`calibration_file.py`) holds an entry for each sensor that was ever zeroed or
calibrated: `corrected = gain * (reading - offset_mmhg)`. `manchet zero` and `manchet calibrate` write it
(`calibrating.py`); `run` asks `standing` whether its sensors may be used; the guard is given `b_corrections`.

The guard corrects its sensor B itself, so what it was given has to be known: by `calibrate`, which sees B through the
guard, and by `run`, because a guard that was started before a calibration still judges by the old one. Whoever gives
it says so with `handed_over`, which leaves a note beside the calibration.

Where the physics is simulated there is nothing to hold a sensor against: a bench with `[simulated]` needs no
calibration, though one whose guard is real makes use of what there is. Whatever is missing or broken on any other bench
is a sentence and the vented side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from firmware_bridge.ports import Sensor
from firmware_bridge.sensors.calibrated import Calibrated

from .calibration_file import FILE, Channel, Correction, Entry, TwoPoints, load_entries, write_whole
from .hardware import part_of
from .settings import SensorSettings, Settings
from .tomlfile import BadInput, load

NOTE: Final = ".guard-corrections.toml"
ZERO_MOVED_MOST_MMHG: Final = 5.0  # [J] more is pressure that was in the cuff when it was zeroed, or another sensor
RESIDUAL_MOST_MMHG: Final = 3.0  # what the gauge of a cuff is usually held to


class HandedOver(Struct, frozen=True, forbid_unknown_fields=True):
    """What the guard of a bench was given for its sensors B, by cuff."""

    version: Literal[1]
    corrections: Annotated[tuple[Correction, ...], Meta(min_length=1, max_length=2)]


# --- a bench's sensors -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fitted:
    """One sensor of a bench, as its settings have it."""

    bench_id: str
    cuff: int  # from 1
    channel: Channel
    settings: SensorSettings

    @property
    def name(self) -> str:
        return f"sensor {self.channel} of cuff {self.cuff}"

    def has(self, entry: Entry) -> bool:
        """Whether this is the entry of this place, whatever sensor was in it."""
        return (entry.bench_id, entry.cuff, entry.channel) == (self.bench_id, self.cuff, self.channel)

    def misfit(self, entry: Entry) -> str:
        """What of the sensor in the entry is not this one's, as a sentence; "" when it is this one."""
        bus, address = self.settings.place
        for what, here, then in (
            ("of kind", self.settings.kind, entry.kind),
            ("part", part_of(self.settings), entry.part),
            ("serial", self.settings.serial or "none", entry.serial or "none"),
            ("on bus", bus, entry.bus),
            ("at address", f"{address:#04x}", f"{entry.address:#04x}"),
            ("with a supply_v of", _volts(self.settings.supply_v), _volts(entry.supply_v)),
            ("with divider =", str(self.settings.divider).lower(), str(entry.divider or False).lower()),
        ):
            if here != then:
                return (
                    f"{self.name} is {what} {here} in the bench's file and was {what} {then} when it was calibrated:"
                    f" correct the file, or calibrate the sensor that is there now (`manchet calibrate`)"
                )
        return ""

    def entry(self, today: date, offset_mmhg: float, two_points: TwoPoints | None = None) -> Entry:
        """A new entry for it."""
        bus, address = self.settings.place
        return Entry(
            self.bench_id, self.cuff, self.channel, self.settings.kind, part_of(self.settings), bus, address,
            today, offset_mmhg, self.settings.serial, self.settings.supply_v, self.settings.divider or None,
            two_points=two_points,
        )  # fmt: skip


def _volts(supply_v: float | None) -> str:
    return "none, measured" if supply_v is None else f"{supply_v:g} V"


def fitted(settings: Settings) -> tuple[Fitted, ...]:
    """Every sensor of a bench, cuff by cuff, A before B, which a simulated bench may leave to its simulation."""
    found: list[Fitted] = []
    for number, cuff in enumerate(settings.cuffs, start=1):
        found.append(Fitted(settings.bench_id, number, "A", cuff.sensor))
        if cuff.sensor_b is not None:
            found.append(Fitted(settings.bench_id, number, "B", cuff.sensor_b))
    return tuple(found)


def entry_of(sensor: Fitted, entries: Sequence[Entry]) -> Entry | None:
    """The entry of this place; None where there is none."""
    return next((entry for entry in entries if sensor.has(entry)), None)


def for_sensor(sensor: Fitted, entries: Sequence[Entry]) -> Correction:
    """The correction of a sensor; none where its place was calibrated with another one, or never."""
    entry = entry_of(sensor, entries)
    return Correction() if entry is None or sensor.misfit(entry) else entry.correction


def corrected(sensors: Sequence[Sensor], corrections: Sequence[Correction]) -> tuple[Sensor, ...]:
    """Sensors behind their corrections, in the same order."""
    return tuple([
        Calibrated(sensor, correction.gain, correction.offset_mmhg)
        for sensor, correction in zip(sensors, corrections, strict=True)
    ])  # fmt: skip


# --- what the guard is given -------------------------------------------------------------------------------------


def b_corrections(settings: Settings, state: Path) -> tuple[Correction, ...]:
    """What the guard is to correct its sensors B with, by cuff: for the guard process when it starts (`corrected`), and
    for what writes a board's `bench.json`, where they are numbers of `board_json`. Never raises: a guard runs with what
    it gets, and `run` refuses a bench whose calibration does not do. Whoever has given them says `handed_over`."""
    try:
        entries = load_entries(state / FILE)
    except BadInput:
        entries = ()
    return tuple([for_sensor(sensor, entries) for sensor in fitted(settings) if sensor.channel == "B"])


def board_json(correction: Correction) -> dict[str, int]:
    """A correction as `bench.json` of a board has it, in `cuffs[].sensor`, in whole numbers: `zero_dmmhg`, tenths of a
    mmHg that the sensor reads without pressure, and `gain_e4`, ten thousandths. The board computes
    `(b_dmmhg - zero_dmmhg) * gain_e4 // 10000`."""
    return {"zero_dmmhg": round(correction.offset_mmhg * 10.0), "gain_e4": round(correction.gain * 10_000.0)}


def handed_over(settings: Settings, state: Path, corrections: Sequence[Correction]) -> None:
    """Leave word of what the guard of this bench corrects its sensors B with from now on. Raises OSError, and then no
    older word stands in its place."""
    lines = ["# Written by whatever gives the guard its corrections.", "version = 1"]
    for one in corrections:
        lines += ["", "[[corrections]]", f"gain = {one.gain!r}", f"offset_mmhg = {one.offset_mmhg!r}"]
    path = _note(settings, state)
    path.unlink(missing_ok=True)
    write_whole(path, "\n".join(lines) + "\n")


def forgotten(state: Path, settings: Settings | None = None) -> None:
    """Take the word back: what the guard of this bench corrects its sensors B with is no longer known. Where it is not
    said which bench a board belongs to, of every bench. Raises OSError."""
    for path in [_note(settings, state)] if settings is not None else sorted(state.glob(f"*{NOTE}")):
        path.unlink(missing_ok=True)


def in_guard(settings: Settings, state: Path) -> tuple[Correction, ...] | None:
    """What the guard of this bench was given last; None where nobody knows."""
    path = _note(settings, state)
    try:
        return load(path, HandedOver).corrections
    except BadInput:
        return None


def _note(settings: Settings, state: Path) -> Path:
    return state / f"{settings.bench_id}{NOTE}"


# --- whether a bench may be used ---------------------------------------------------------------------------------


class Misfit(Exception):
    """A sensor is not the one that was calibrated in its place. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bench stands with its calibration on one day."""

    a: tuple[Correction, ...]  # of sensor A, by cuff
    uncalibrated: str = ""  # why no session may begin, as a sentence; "" when one may
    overdue: tuple[str, ...] = ()  # what is due for a check, one sensor each
    calibrated_on: Mapping[tuple[int, Channel], date] = field(default_factory=dict)  # by cuff, from 1, and channel


def standing(settings: Settings, state: Path | None, today: date) -> Standing:
    """Whether the sensors of this bench may be used. `state`: the folder of `calibration.toml`; None: there is none.

    Raises:
        Misfit: a sensor is not the one that was calibrated in its place.
        BadInput: the file cannot be used.
    """
    if settings.guard.kind == "simulated":
        return Standing((Correction(),) * len(settings.cuffs))
    entries = load_entries(state / FILE) if state is not None else ()
    sensors = fitted(settings)
    against: list[str] = []
    overdue: list[str] = []
    days: dict[tuple[int, Channel], date] = {}
    for sensor in sensors:
        entry = entry_of(sensor, entries)
        if entry is not None and (misfit := sensor.misfit(entry)):
            raise Misfit(misfit)
        against += _against(sensor, entry, today)
        if entry is not None and entry.two_points is not None:
            days[sensor.cuff, sensor.channel] = entry.two_points.calibrated_on
            due = due_on(entry.two_points.calibrated_on)
            if today >= due:
                overdue.append(f"{sensor.name}, due on {due.isoformat()}")
    if not against:
        against += _against_guard(settings, state, entries)
    if settings.simulated is not None:
        against.clear()
    a = tuple([for_sensor(sensor, entries) for sensor in sensors if sensor.channel == "A"])
    return Standing(a, against[0] if against else "", tuple(overdue), days)


def _against(sensor: Fitted, entry: Entry | None, today: date) -> list[str]:
    """Why a sensor must not be used in a session."""
    if entry is None or entry.two_points is None:
        return [f"{sensor.name} has never been calibrated: stop the service and run `manchet calibrate`"]
    latest = max(entry.zeroed_on, entry.two_points.calibrated_on)
    if latest > today:
        return [
            f"{sensor.name} was calibrated on {latest.isoformat()}, which is after today, {today.isoformat()}:"
            f" set the clock, or calibrate it anew"
        ]
    moved_mmhg = entry.offset_mmhg - entry.two_points.zero_reading_mmhg
    if not abs(moved_mmhg) <= ZERO_MOVED_MOST_MMHG:
        return [
            f"the zero of {sensor.name} has moved by {moved_mmhg:+.1f} mmHg since it was calibrated, must be at most"
            f" {ZERO_MOVED_MOST_MMHG:g} mmHg: zero it with its couplings apart; if it stays so, calibrate it anew"
        ]
    residual_mmhg = entry.two_points.residual_mmhg
    if not abs(residual_mmhg) <= RESIDUAL_MOST_MMHG:
        return [
            f"{sensor.name} is {residual_mmhg:+.1f} mmHg off after its calibration, must be at most"
            f" {RESIDUAL_MOST_MMHG:g} mmHg: calibrate it anew"
        ]
    return []


def _against_guard(settings: Settings, state: Path | None, entries: Sequence[Entry]) -> list[str]:
    """Whether the guard judges by the calibration that is in the file."""
    given = in_guard(settings, state) if state is not None else None
    wanted = [for_sensor(sensor, entries) for sensor in fitted(settings) if sensor.channel == "B"]
    if given is not None and len(given) == len(wanted) and all(map(Correction.same, given, wanted)):
        return []
    return [f"the guard does not have the calibration of its sensor B yet: {how_to_hand_over(settings)}"]


def how_to_hand_over(settings: Settings) -> str:
    """What gives the guard of this bench its corrections."""
    return (
        "run `manchet flash` with --config and --board"
        if settings.guard.kind == "pico"
        else "restart the guard (manchet-guard)"
    )


def due_on(calibrated_on: date) -> date:
    """Twelve months later [J]; of 29 February the first of March."""
    try:
        return calibrated_on.replace(year=calibrated_on.year + 1)
    except ValueError:
        return date(calibrated_on.year + 1, 3, 1)
