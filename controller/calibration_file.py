"""`calibration.toml`: what is in it, bounded, and how it is read and written.

An entry for each sensor that was ever zeroed or calibrated, in words and mmHg. What is read has to be whole and its
numbers have to belong together; what is written is there whole or not at all. What follows from it for a bench is in
`calibration.py`. Every complaint about the file is a `BadInput`, one line.
"""

from __future__ import annotations

import os
import tomllib
from datetime import date
from math import isclose
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, structs

from firmware_bridge.sensors.calibrated import GAIN_HIGH, GAIN_LOW, OFFSET_MOST_MMHG

from .tomlfile import MISSING, BadInput, convert, read

FILE: Final = "calibration.toml"
REFERENCE_LOW_MMHG: Final = 150.0  # [J] the second point lies where cuffs are held
REFERENCE_HIGH_MMHG: Final = 250.0
CHECK_LOW_MMHG: Final = 80.0  # [J] the third one between the first two
CHECK_HIGH_MMHG: Final = 120.0
SAME_GAIN: Final = 1e-4  # [J] a board may round a gain so far: 0.03 mmHg at 330
SAME_OFFSET_MMHG: Final = 0.06  # and an offset to tenths
POINTS_AGREE: Final = 1e-3  # gain and residual are kept beside the readings they came from, rounded

_HEAD: Final = """# What the sensors of this machine's benches were held against a reference for. `manchet zero` and
# `manchet calibrate` write it, nobody corrects it: an entry whose numbers do not belong together is refused.
# corrected = gain * (reading - offset_mmhg)
"""

Gain = Annotated[float, Meta(ge=GAIN_LOW, le=GAIN_HIGH)]
OffsetMmhg = Annotated[float, Meta(ge=-OFFSET_MOST_MMHG, le=OFFSET_MOST_MMHG)]
ReadingMmhg = Annotated[float, Meta(ge=-50.0, le=400.0)]
Words = Annotated[str, Meta(min_length=1, max_length=40)]
Channel = Literal["A", "B"]


class Correction(Struct, frozen=True, forbid_unknown_fields=True):
    """`corrected = gain * (reading - offset_mmhg)`; as made, it changes nothing."""

    gain: Gain = 1.0
    offset_mmhg: OffsetMmhg = 0.0

    def undone(self, corrected_mmhg: float) -> float:
        """What the sensor read."""
        return corrected_mmhg / self.gain + self.offset_mmhg

    def same(self, other: Correction) -> bool:
        """Whether it is the other one, as far as a board keeps it."""
        return isclose(self.gain, other.gain, rel_tol=0.0, abs_tol=SAME_GAIN) and isclose(
            self.offset_mmhg, other.offset_mmhg, rel_tol=0.0, abs_tol=SAME_OFFSET_MMHG
        )


class TwoPoints(Struct, frozen=True, forbid_unknown_fields=True):
    """One calibration against a reference. Readings are the sensor's own, before any correction."""

    calibrated_on: date
    gain: Gain
    zero_reading_mmhg: OffsetMmhg  # vented
    reference_mmhg: Annotated[float, Meta(ge=REFERENCE_LOW_MMHG, le=REFERENCE_HIGH_MMHG)]
    reading_mmhg: ReadingMmhg
    check_reference_mmhg: Annotated[float, Meta(ge=CHECK_LOW_MMHG, le=CHECK_HIGH_MMHG)]
    check_reading_mmhg: ReadingMmhg
    residual_mmhg: Annotated[float, Meta(ge=-50.0, le=50.0)]  # corrected minus reference, at the check
    spread_mmhg: Annotated[float, Meta(ge=0.0, le=10.0)]  # the worst of the three: half of highest minus lowest
    temperature_c: Annotated[float, Meta(ge=-50.0, le=150.0)] | None = None  # of the sensor; None: it does not say
    reference: Words | None = None  # the reference's own number
    by: Words | None = None


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One sensor in its place. Kind, part, serial, bus, address, and of an `mpx5050` its supply and divider, have to be
    those of the settings."""

    bench_id: Words
    cuff: Annotated[int, Meta(ge=1, le=2)]
    channel: Channel
    kind: Words
    part: Words
    bus: Annotated[int, Meta(ge=0, le=255)]
    address: Annotated[int, Meta(ge=0x08, le=0x77)]
    zeroed_on: date
    offset_mmhg: OffsetMmhg
    serial: Words | None = None
    supply_v: Annotated[float, Meta(ge=3.0, le=6.0)] | None = None  # of an mpx5050 whose supply is not measured
    divider: bool | None = None  # None: without
    zero_spread_mmhg: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.0
    zero_temperature_c: Annotated[float, Meta(ge=-50.0, le=150.0)] | None = None
    two_points: TwoPoints | None = None  # None: zeroed, and never calibrated

    @property
    def correction(self) -> Correction:
        return Correction(1.0 if self.two_points is None else self.two_points.gain, self.offset_mmhg)


class CalibrationFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `calibration.toml`."""

    version: Literal[1]
    sensors: Annotated[tuple[Entry, ...], Meta(min_length=0, max_length=64)] = ()


# --- reading and writing -----------------------------------------------------------------------------------------


def load_entries(path: Path) -> tuple[Entry, ...]:
    """Every entry; none where there is no file. Raises BadInput for whatever cannot be used as it is."""
    if not os.path.lexists(path):
        return ()
    return _checked(convert(read(path), CalibrationFile, path), path).sensors


def _checked(file: CalibrationFile, source: Path) -> CalibrationFile:
    seen: set[tuple[str, int, str]] = set()
    for number, entry in enumerate(file.sensors, start=1):
        key = f"sensors[{number}]"
        place = (entry.bench_id, entry.cuff, entry.channel)
        if place in seen:
            must = "the only one of its bench, cuff and channel: remove one of the two"
            raise BadInput(source, key, MISSING, must)
        seen.add(place)
        two = entry.two_points
        if two is None:
            continue
        for name, value, of_points in (
            ("gain", two.gain, gain_of(two.zero_reading_mmhg, two.reading_mmhg, two.reference_mmhg)),
            ("residual_mmhg", two.residual_mmhg, residual_of(two)),
        ):
            if not isclose(value, of_points, rel_tol=0.0, abs_tol=POINTS_AGREE):
                must = f"{of_points:.4f}, which is what its readings make: calibrate the sensor anew"
                raise BadInput(source, f"{key}.two_points.{name}", value, must)
    return file


def gain_of(zero_reading_mmhg: float, reading_mmhg: float, reference_mmhg: float) -> float:
    """Of two points; 0, which is out of every bound, where they are one."""
    rise_mmhg = reading_mmhg - zero_reading_mmhg
    return reference_mmhg / rise_mmhg if rise_mmhg > 0.0 else 0.0


def residual_of(two: TwoPoints) -> float:
    """What is left at the check: corrected minus reference."""
    return two.gain * (two.check_reading_mmhg - two.zero_reading_mmhg) - two.check_reference_mmhg


def save_entry(path: Path, entry: Entry) -> None:
    """Put one entry in the place of its former one; the others stay as they are.

    Raises:
        BadInput: the file that is there cannot be read, and nothing was changed; or a number is out of its bounds.
        OSError: it cannot be written, and nothing was changed.
    """
    place = (entry.bench_id, entry.cuff, entry.channel)
    others = [one for one in load_entries(path) if (one.bench_id, one.cuff, one.channel) != place]
    file = CalibrationFile(1, tuple(sorted([*others, entry], key=lambda one: (one.bench_id, one.cuff, one.channel))))
    text = _HEAD + _as_toml(file)
    if _read_back(text, path) != file:  # what will not come back as it is, is not written
        raise BadInput(path, "", MISSING, "a file that reads back as it was written")
    write_whole(path, text)


def _read_back(text: str, path: Path) -> CalibrationFile:
    return _checked(convert(tomllib.loads(text), CalibrationFile, path), path)


def _as_toml(file: CalibrationFile) -> str:
    """By hand: flat tables of words, numbers and dates, which `save_entry` reads back before it trusts them; a writing
    library would be one more thing to install for forty lines a year."""
    lines = [f"version = {file.version}"]
    for entry in file.sensors:
        lines += ["", "[[sensors]]", *_keys(entry)]
        if entry.two_points is not None:
            lines += ["[sensors.two_points]", *_keys(entry.two_points)]
    return "\n".join(lines) + "\n"


def _keys(struct: Struct) -> list[str]:
    pairs = structs.asdict(struct).items()
    return [f"{name} = {_word(value)}" for name, value in pairs if value is not None and not isinstance(value, Struct)]


def _word(value: Any) -> str:
    if isinstance(value, str):
        plain = [c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in value]
        return f'"{"".join(plain)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else repr(value)


def write_whole(path: Path, text: str) -> None:
    """The file with this text, or as it was: whatever happens in between, power failing included. Raises OSError."""
    new = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        with new.open("x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            if os.geteuid() == 0:  # `sudo manchet calibrate` must leave the service a file that it can read
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
