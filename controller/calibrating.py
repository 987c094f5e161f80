"""Zeroing and calibrating the sensors of a bench that nothing controls meanwhile: what is measured, asked and refused.

Knows no bus, no guard and no terminal: `Gauges` says what the sensors read, `Bedside` asks the person and tells them.
Everything that is measured has to hold still first. Whatever does not go as it should raises `NotDone` with a sentence,
and then nothing was written for that sensor. Pressures are mmHg, readings those of the sensor before any correction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite, nan
from pathlib import Path
from statistics import fmean
from typing import Final, Protocol

from msgspec import structs

from firmware_bridge.sensors.calibrated import GAIN_HIGH, GAIN_LOW, OFFSET_MOST_MMHG

from .calibration import RESIDUAL_MOST_MMHG, Fitted, entry_of
from .calibration_file import (
    CHECK_HIGH_MMHG,
    CHECK_LOW_MMHG,
    REFERENCE_HIGH_MMHG,
    REFERENCE_LOW_MMHG,
    Entry,
    TwoPoints,
    gain_of,
    load_entries,
    residual_of,
    save_entry,
)

STILL_S: Final = 2.0
STILL_MMHG: Final = 0.5  # around its middle, judged on means of a tenth of that time: noise is no movement
PARTS: Final = 10
SETTLES_WITHIN_S: Final = 30.0  # [J] vented
PUMPED_WITHIN_S: Final = 300.0  # [J] by hand, and held
GUARD_WITHIN_S: Final = 3.0  # [J] how long the guard may be silent or not vented: its handshake takes half a second
SAYS_EVERY_S: Final = 1.0
PLAUSIBLE_MMHG: Final = 10.0  # [J] what is typed may be so far from what is read, and 5 % of it more
PLAUSIBLE_SHARE: Final = 0.05
MOVED_MOST_MMHG: Final = 1.0  # [J] while the reference was being read and typed
TRIES: Final = 3


class NotDone(Exception):
    """It was not done, and nothing was written. The message is a sentence."""


class GuardSilent(NotDone):
    """The guard does not answer, or does not say that everything is vented."""


@dataclass(slots=True)
class Look:
    """Every sensor once, in the order of `Gauges.sensors`."""

    at_s: float
    readings_mmhg: tuple[float, ...]  # before any correction; NaN: nothing new
    temperatures_c: tuple[float, ...]  # NaN: it does not say
    faults: tuple[str, ...]  # why there is no reading; "" where there is one, or nothing new
    unvented: str  # why the guard is not known to have pumps off and valves open; "" when it says so


class Gauges(Protocol):
    """The sensors of a bench as gauges."""

    sensors: tuple[Fitted, ...]

    def look(self) -> Look:
        """Wait for the next instant and look."""


@dataclass(slots=True)
class Bedside:
    """The person at the bench. `ask` raises NotDone when there is nobody to answer."""

    tell: Callable[[str], None]
    ask: Callable[[str], str]


@dataclass(slots=True)
class Steady:
    """A reading that held still."""

    mmhg: float
    spread_mmhg: float  # half of highest minus lowest
    temperature_c: float | None


class Window:
    """The readings of one sensor in the last STILL_S."""

    def __init__(self) -> None:
        self._taken: deque[tuple[float, float, float]] = deque()
        self._from_s = nan

    def take(self, at_s: float, mmhg: float, temperature_c: float) -> None:
        if not self._taken:
            self._from_s = at_s
        self._taken.append((at_s, mmhg, temperature_c))
        while self._taken[0][0] < at_s - STILL_S:
            self._taken.popleft()

    def clear(self) -> None:
        self._taken.clear()

    @property
    def last_mmhg(self) -> float:
        return self._taken[-1][1] if self._taken else nan

    def steady(self) -> Steady | None:
        """None while it moves, or has not been looked at for long enough, or not often enough."""
        if not self._taken or self._taken[-1][0] - self._from_s < STILL_S:
            return None
        from_s = self._taken[-1][0] - STILL_S
        parts: list[list[float]] = [[] for _ in range(PARTS)]
        for at_s, mmhg, _ in self._taken:
            parts[min(PARTS - 1, int((at_s - from_s) / STILL_S * PARTS))].append(mmhg)
        if not all(parts):
            return None
        means = [fmean(part) for part in parts]
        spread_mmhg = (max(means) - min(means)) / 2.0
        if not spread_mmhg <= STILL_MMHG:
            return None
        warmth = [temperature_c for _, _, temperature_c in self._taken if isfinite(temperature_c)]
        return Steady(fmean(means), spread_mmhg, fmean(warmth) if warmth else None)


def settled(
    gauges: Gauges,
    which: Sequence[int],
    tell: Callable[[str], None],
    within_s: float = SETTLES_WITHIN_S,
    between_mmhg: tuple[float, float] = (-1e9, 1e9),
) -> tuple[Steady, ...]:
    """Look until these sensors hold still, all at once, between these pressures. Raises NotDone when they do not."""
    names = [gauges.sensors[index].name for index in which]
    windows = [Window() for _ in which]
    faults = [""] * len(which)
    began_s = vented_s = said_s = gauges.look().at_s  # the first look may hold what was under way before
    low_mmhg, high_mmhg = between_mmhg
    while True:
        look = gauges.look()
        if not look.unvented:
            vented_s = look.at_s
        elif look.at_s - vented_s > GUARD_WITHIN_S:
            raise GuardSilent(look.unvented)
        for slot, index in enumerate(which):
            faults[slot] = look.faults[index] or faults[slot]
            if look.faults[index] or look.unvented:
                windows[slot].clear()
            elif isfinite(look.readings_mmhg[index]):
                faults[slot] = ""
                windows[slot].take(look.at_s, look.readings_mmhg[index], look.temperatures_c[index])
        still = [window.steady() for window in windows]
        found = [one for one in still if one is not None and low_mmhg <= one.mmhg <= high_mmhg]
        if len(found) == len(which):
            return tuple(found)
        shown = ", ".join(
            fault or f"{name}: {window.last_mmhg:.1f} mmHg{'' if one is None else ', still'}"
            for name, window, one, fault in zip(names, windows, still, faults, strict=True)
        )
        if look.at_s - began_s > within_s:
            if any(faults):
                raise NotDone(next(fault for fault in faults if fault))
            need = "" if low_mmhg < -1e8 else f" between {low_mmhg:g} and {high_mmhg:g} mmHg"
            raise NotDone(
                f"did not hold still{need} to within {STILL_MMHG:g} mmHg for {STILL_S:g} s, in {within_s:g} s"
                f" ({shown}): look for a leak, and whether all of it is vented or all of it closed"
            )
        if look.at_s - said_s >= SAYS_EVERY_S:
            said_s = look.at_s
            tell(shown)


# --- zero --------------------------------------------------------------------------------------------------------


def zero(gauges: Gauges, which: Sequence[int], path: Path, today: date, bedside: Bedside) -> list[Entry]:
    """What these sensors read without pressure becomes their zero. A calibration of the same sensor stands.

    Raises:
        NotDone: not vented, not still, or one of them further from zero than a sensor may be; none was zeroed.
        BadInput, OSError: the file cannot be read or written.
    """
    entries = load_entries(path)  # before anything is asked of anybody
    _check_clock(gauges, which, entries, today)
    bedside.tell("zeroing: take the cuffs off the limb and their couplings apart, so that nothing holds pressure")
    made: list[Entry] = []
    for index, one in zip(which, settled(gauges, which, bedside.tell), strict=True):
        sensor = gauges.sensors[index]
        former = entry_of(sensor, entries)
        kept = None if former is None or sensor.misfit(former) else former.two_points
        made.append(_entry(sensor, today, _zero_mmhg(sensor, one), one, kept))
    for entry in made:
        save_entry(path, entry)
    return made


def _zero_mmhg(sensor: Fitted, one: Steady) -> float:
    if not abs(one.mmhg) <= OFFSET_MOST_MMHG:
        raise NotDone(
            f"{sensor.name} reads {one.mmhg:.1f} mmHg while vented, must be within {OFFSET_MOST_MMHG:g} mmHg of zero:"
            f" see whether it is really without pressure; if it is, replace the sensor"
        )
    return round(one.mmhg, 3)


def _entry(sensor: Fitted, today: date, zero_mmhg: float, one: Steady, two_points: TwoPoints | None) -> Entry:
    return structs.replace(
        sensor.entry(today, zero_mmhg, two_points),
        zero_spread_mmhg=round(one.spread_mmhg, 3),
        zero_temperature_c=_tenths(one.temperature_c),
    )


def _check_clock(gauges: Gauges, which: Sequence[int], entries: Sequence[Entry], today: date) -> None:
    """A clock that was never set would date a calibration before the last one."""
    for index in which:
        former = entry_of(gauges.sensors[index], entries)
        if former is not None and former.zeroed_on > today:
            raise NotDone(
                f"{gauges.sensors[index].name} was zeroed on {former.zeroed_on.isoformat()}, which is after today,"
                f" {today.isoformat()}: set the clock first"
            )


# --- calibrate ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reference:
    """What it is held against, and by whom; None: not said."""

    number: str | None = None
    by: str | None = None


def calibrate(gauges: Gauges, index: int, path: Path, today: date, bedside: Bedside, reference: Reference) -> Entry:
    """Hold one sensor against a reference manometer: vented, at a high pressure, and at one between them as a check.

    Raises:
        NotDone: not vented, not still, implausible, or still off at the check; nothing was written.
        BadInput, OSError: the file cannot be read or written.
    """
    sensor = gauges.sensors[index]
    _check_clock(gauges, [index], load_entries(path), today)
    for line in how_to_connect(sensor):
        bedside.tell(line)
    bedside.ask("vented, and the reference shows 0? Enter: ")
    (vented,) = settled(gauges, [index], bedside.tell)
    zero_mmhg = _zero_mmhg(sensor, vented)

    high_mmhg, high = _point(gauges, index, bedside, REFERENCE_LOW_MMHG, REFERENCE_HIGH_MMHG)
    gain = round(gain_of(zero_mmhg, high.mmhg, high_mmhg), 6)
    if not GAIN_LOW <= gain <= GAIN_HIGH:
        raise NotDone(
            f"{sensor.name} would need a gain of {gain:.3f}, must be from {GAIN_LOW:g} to {GAIN_HIGH:g}: see to the"
            f" reference and to kind and part in the bench's file; if they are right, replace the sensor"
        )
    check_mmhg, check = _point(gauges, index, bedside, CHECK_LOW_MMHG, CHECK_HIGH_MMHG)
    two = TwoPoints(
        today, gain, zero_mmhg, high_mmhg, round(high.mmhg, 3), check_mmhg, round(check.mmhg, 3), 0.0,
        round(max(vented.spread_mmhg, high.spread_mmhg, check.spread_mmhg), 3), _tenths(high.temperature_c),
        reference.number, reference.by,
    )  # fmt: skip
    two = structs.replace(two, residual_mmhg=round(residual_of(two), 3))
    if not abs(two.residual_mmhg) <= RESIDUAL_MOST_MMHG:
        raise NotDone(
            f"{sensor.name} is still {two.residual_mmhg:+.1f} mmHg off at {check_mmhg:g} mmHg, must be at most"
            f" {RESIDUAL_MOST_MMHG:g} mmHg: read the reference again; if it is right, replace the sensor"
        )
    entry = _entry(sensor, today, zero_mmhg, vented, two)
    save_entry(path, entry)
    return entry


def how_to_connect(sensor: Fitted) -> tuple[str, ...]:
    """Where reference and hand pump go. The bench's valves are open all the while, so its manifold is clamped off."""
    where = (
        "the tube between the manifold and sensor A: put the T there, and clamp the tube on the manifold's side of it"
        if sensor.channel == "A"
        else "the tube of sensor B's own port: put the T there, and clamp the tube on the cuff's side of it"
    )
    return (
        f"{sensor.name}: take the cuff off the limb; nothing of this goes on a person",
        f"connect reference manometer and hand pump by a T piece to {where}",
        "leave the pump's own valve open: the first point is without pressure",
    )


def _point(gauges: Gauges, index: int, bedside: Bedside, low_mmhg: float, high_mmhg: float) -> tuple[float, Steady]:
    """What the reference showed, as it was typed, and what the sensor read then."""
    sensor = gauges.sensors[index]
    about = (_least(low_mmhg), _most(high_mmhg))
    for _ in range(TRIES):
        bedside.tell(f"close the pump's valve, pump to between {low_mmhg:g} and {high_mmhg:g} mmHg, and hold")
        (before,) = settled(gauges, [index], bedside.tell, PUMPED_WITHIN_S, about)
        bedside.tell(f"{sensor.name} holds still")
        typed_mmhg = _typed(bedside, low_mmhg, high_mmhg)
        (after,) = settled(gauges, [index], bedside.tell)
        if abs(after.mmhg - before.mmhg) > MOVED_MOST_MMHG:
            bedside.tell(f"it moved from {before.mmhg:.1f} to {after.mmhg:.1f} mmHg meanwhile: once more")
            continue
        least_mmhg, most_mmhg = _least(after.mmhg), _most(after.mmhg)
        if not least_mmhg <= typed_mmhg <= most_mmhg:
            raise NotDone(
                f"reference = {typed_mmhg:g} mmHg: must be from {least_mmhg:.0f} to {most_mmhg:.0f} mmHg where"
                f" {sensor.name} reads {after.mmhg:.1f}: see whether both are on the same tube"
            )
        return typed_mmhg, after
    raise NotDone(f"{sensor.name} moved each time the reference was read: look for a leak")


def _least(mmhg: float) -> float:
    return mmhg - abs(mmhg) * PLAUSIBLE_SHARE - PLAUSIBLE_MMHG


def _most(mmhg: float) -> float:
    return mmhg + abs(mmhg) * PLAUSIBLE_SHARE + PLAUSIBLE_MMHG


def _typed(bedside: Bedside, low_mmhg: float, high_mmhg: float) -> float:
    """A pressure that a person types. Raises NotDone after three that are none."""
    for _ in range(TRIES):
        text = bedside.ask("what the reference shows, in mmHg: ").strip()
        try:
            typed_mmhg = float(text.replace(",", ".", 1)) if text.isascii() and "_" not in text else nan
        except ValueError:
            typed_mmhg = nan
        if low_mmhg <= typed_mmhg <= high_mmhg:
            return typed_mmhg
        bedside.tell(f"reference = {text}: must be a number between {low_mmhg:g} and {high_mmhg:g} mmHg")
    raise NotDone(f"no pressure between {low_mmhg:g} and {high_mmhg:g} mmHg was typed in {TRIES} tries")


def _tenths(temperature_c: float | None) -> float | None:
    return None if temperature_c is None else round(temperature_c, 1)
