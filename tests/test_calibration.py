"""What a bench's calibration has to be, and what follows where it is not: one sentence, and the vented side."""

from __future__ import annotations

import os
import tempfile
from datetime import date
from math import inf, nan
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from controller import calibration
from controller.calibration import Fitted, Misfit, fitted, standing
from controller.calibration_file import FILE, Correction, Entry, TwoPoints, load_entries, save_entry
from controller.settings import SensorSettings, Settings, load
from controller.tomlfile import BadInput
from firmware_bridge.ports import Reading

TODAY = date(2026, 11, 25)
GPIO = """bench_id = "b1"
[guard]
kind = "gpio"
gpio = { estop_gpio = 6, heartbeat_gpio = 17 }
[[cuffs]]
sensor = { bus = 1, serial = "A-1" }
sensor_b = { bus = 3, serial = "B-1" }
lines = { pump_gpio = 12, pump_enable_gpio = 16, vent_gpio = 20, dump_gpio = 21 }
"""
SIMULATED = """bench_id = "b1"
[guard]
kind = "simulated"
[[cuffs]]
sensor = { bus = 1 }
[simulated]
"""


def bench(folder: Path, text: str = GPIO) -> Settings:
    path = folder / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def points(on: date = TODAY, residual_mmhg: float = 0.4, **changed: Any) -> TwoPoints:
    """Zero at 2, 200 reads 202: a gain of one; 100 reads 102 and what is left."""
    two = TwoPoints(on, 1.0, 2.0, 200.0, 202.0, 100.0, 102.0 + residual_mmhg, residual_mmhg, 0.1)
    return structs.replace(two, **changed)


def calibrate(sensor: Fitted, state: Path, two: TwoPoints | None, zeroed_on: date = TODAY) -> Entry:
    entry = sensor.entry(zeroed_on, 2.0, two)
    save_entry(state / FILE, entry)
    return entry


def whole(folder: Path, two: TwoPoints | None = None, zeroed_on: date = TODAY) -> Settings:
    """A bench of wires with everything as it has to be."""
    settings = bench(folder)
    for sensor in fitted(settings):
        calibrate(sensor, folder, points() if two is None else two, zeroed_on)
    calibration.handed_over(settings, folder, calibration.b_corrections(settings, folder))
    return settings


# --- what a bench is refused for ---------------------------------------------------------------------------------


def test_a_bench_without_the_file_is_not_ready_and_says_why(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    for state in (tmp_path, tmp_path / "missing", None):
        found = standing(settings, state, TODAY)
        assert found.uncalibrated.startswith("sensor A of cuff 1 has never been calibrated: ")
        assert found.a == (Correction(),)
        assert found.calibrated_on == {}


def test_one_of_two_sensors_is_not_enough(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    calibrate(fitted(settings)[0], tmp_path, points())
    assert standing(settings, tmp_path, TODAY).uncalibrated.startswith("sensor B of cuff 1 has never been calibrated")


def test_zeroed_is_not_calibrated(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    for sensor in fitted(settings):
        calibrate(sensor, tmp_path, None)
    found = standing(settings, tmp_path, TODAY)
    assert found.uncalibrated.startswith("sensor A of cuff 1 has never been calibrated")
    assert found.a == (Correction(1.0, 2.0),)  # and yet its zero is used


@pytest.mark.parametrize("residual_mmhg", [3.01, -3.01, 40.0])
def test_a_residual_above_3_mmhg_is_not_ready(tmp_path: Path, residual_mmhg: float) -> None:
    settings = whole(tmp_path, points(residual_mmhg=residual_mmhg))
    said = standing(settings, tmp_path, TODAY).uncalibrated
    assert said.startswith(
        f"sensor A of cuff 1 is {residual_mmhg:+.1f} mmHg off after its calibration, must be at most 3"
    )


@pytest.mark.parametrize("residual_mmhg", [3.0, -3.0, 0.0])
def test_a_residual_of_3_mmhg_is_ready(tmp_path: Path, residual_mmhg: float) -> None:
    assert standing(whole(tmp_path, points(residual_mmhg=residual_mmhg)), tmp_path, TODAY).uncalibrated == ""


@pytest.mark.parametrize(("moved_mmhg", "ready"), [(5.0, True), (-5.0, True), (5.5, False), (-7.0, False)])
def test_a_zero_far_from_that_of_the_calibration_is_none(tmp_path: Path, moved_mmhg: float, ready: bool) -> None:
    """Zeroed with pressure in the cuffs, both sensors would agree that it is not there."""
    settings = whole(tmp_path)
    for sensor in fitted(settings):
        save_entry(tmp_path / calibration.FILE, sensor.entry(TODAY, 2.0 + moved_mmhg, points()))
    calibration.handed_over(settings, tmp_path, calibration.b_corrections(settings, tmp_path))
    said = standing(settings, tmp_path, TODAY).uncalibrated
    assert said == "" if ready else f"the zero of sensor A of cuff 1 has moved by {moved_mmhg:+.1f} mmHg" in said


@pytest.mark.parametrize(
    ("two", "zeroed_on"), [(points(date(2026, 11, 26)), TODAY), (points(), date(2030, 1, 1))], ids=["points", "zero"]
)
def test_a_calibration_of_tomorrow_is_not_ready(tmp_path: Path, two: TwoPoints, zeroed_on: date) -> None:
    said = standing(whole(tmp_path, two, zeroed_on), tmp_path, TODAY).uncalibrated
    assert "which is after today, 2026-11-25: set the clock" in said


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('serial = "A-1"', 'serial = "A-2"', "sensor A of cuff 1 is serial A-2 in the bench's file and was serial A-1"),
        (', serial = "A-1"', "", "sensor A of cuff 1 is serial none in the bench's file and was serial A-1"),
        ('serial = "B-1"', 'serial = "B-2"', "sensor B of cuff 1 is serial B-2"),
        ("bus = 1", "bus = 5", "sensor A of cuff 1 is on bus 5 in the bench's file and was on bus 1"),
        (
            "bus = 1,",
            "bus = 1, address = 0x38,",
            "sensor A of cuff 1 is at address 0x38 in the bench's file and was",
        ),
        ("bus = 1,", 'bus = 1, part = "001BG",', "sensor A of cuff 1 is part 001BG in the bench's file and was part 6"),
        ("bus = 1,", 'bus = 1, kind = "mpr",', "sensor A of cuff 1 is of kind mpr in the bench's file and was of kind"),
    ],
)
def test_a_sensor_that_is_not_the_calibrated_one_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    whole(tmp_path)
    other = bench(tmp_path, GPIO.replace(old, new, 1))
    with pytest.raises(Misfit) as caught:
        standing(other, tmp_path, TODAY)
    assert str(caught.value).startswith(says)
    assert all(calibration.for_sensor(one, load_entries(tmp_path / FILE)) == Correction() for one in fitted(other)) is (
        False
    )  # the sensor that did not change keeps its own
    changed = next(one for one in fitted(other) if one.name in says)
    assert calibration.for_sensor(changed, load_entries(tmp_path / FILE)) == Correction()


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        ({"supply_v": 5.0}, {"supply_v": 5.25}, "with a supply_v of 5.25 V in the bench's file and was with a"),
        ({}, {"supply_v": 5.0}, "with a supply_v of 5 V in the bench's file and was with a supply_v of none, measured"),
        ({"supply_v": 5.0}, {}, "with a supply_v of none, measured"),
        ({}, {"divider": True}, "with divider = true in the bench's file and was with divider = false"),
        ({"divider": True}, {}, "with divider = false in the bench's file and was with divider = true"),
        ({"supply_v": 5.0, "divider": True}, {"supply_v": 5.0, "divider": True}, ""),
    ],
)
def test_what_scales_a_sensor_is_what_it_was_calibrated_with(
    then: dict[str, Any], now: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """5 % of supply are 8 mmHg of 160, and not one of zero."""
    before, after = (Fitted("b1", 1, "A", SensorSettings(bus=1, kind="mpx5050", **one)) for one in (then, now))
    save_entry(tmp_path / FILE, before.entry(TODAY, 0.0))
    (entry,) = load_entries(tmp_path / FILE)
    assert entry == before.entry(TODAY, 0.0)
    assert before.misfit(entry) == ""
    assert says in after.misfit(entry)
    assert bool(after.misfit(entry)) is bool(says)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "the guard does not have the calibration of its sensor B yet: restart the guard (manchet-guard)"),
        ((), "the guard does not have"),
        ((Correction(),), "the guard does not have"),
        ((Correction(1.0, 2.0), Correction(1.0, 2.0)), "the guard does not have"),
        ((Correction(1.0002, 2.0),), "the guard does not have"),
        ((Correction(1.0, 2.1),), "the guard does not have"),
        ((Correction(1.00005, 2.05),), ""),  # as a board rounds it
    ],
)
def test_a_guard_that_judges_by_another_calibration_is_not_ready(
    tmp_path: Path, given: tuple[Correction, ...] | None, says: str
) -> None:
    settings = whole(tmp_path)
    if given is None:
        (tmp_path / "b1.guard-corrections.toml").unlink()
    else:
        calibration.handed_over(settings, tmp_path, given)
    assert standing(settings, tmp_path, TODAY).uncalibrated.startswith(says)
    assert bool(standing(settings, tmp_path, TODAY).uncalibrated) is bool(says)


def test_word_that_cannot_be_left_leaves_no_older_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = whole(tmp_path)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        calibration.handed_over(settings, tmp_path, (Correction(1.01, 0.0),))
    assert calibration.in_guard(settings, tmp_path) is None


def test_a_note_of_the_guards_that_is_broken_is_no_note(tmp_path: Path) -> None:
    settings = whole(tmp_path)
    (tmp_path / "b1.guard-corrections.toml").write_text("version = 1\n[[corrections]]\ngain = nan\n")
    assert calibration.in_guard(settings, tmp_path) is None
    assert standing(settings, tmp_path, TODAY).uncalibrated.startswith("the guard does not have")


# --- a file that cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "version = 2", "version = 2: must be one of 1"),
        ("gain = 1.0", "gain = nan", "sensors[1].two_points.gain = nan: must be a number from 0.9 to 1.1"),
        ("gain = 1.0", "gain = 1.2", "sensors[1].two_points.gain = 1.2: must be a number from 0.9 to 1.1"),
        ("gain = 1.0", "gain = 1.05", "sensors[1].two_points.gain = 1.05: must be 1.0000, which is what its readings"),
        ("gain = 1.0", "", "sensors[1].two_points.gain: must be given"),
        (
            "offset_mmhg = 2.0",
            "offset_mmhg = inf",
            "sensors[1].offset_mmhg = inf: must be a number from -10 to 10",
        ),
        ("offset_mmhg = 2.0", "offset_mmhg = -10.1", "sensors[1].offset_mmhg = -10.1: must be a number from -10 to 10"),
        ("\nreading_mmhg = 202.0", "\nreading_mmhg = 2.0", "sensors[1].two_points.gain = 1: must be 0.0000"),
        ("residual_mmhg = 0.4", "residual_mmhg = 0.1", "sensors[1].two_points.residual_mmhg = 0.1: must be 0.4000"),
        ("residual_mmhg = 0.4", "residual_mmhg = nan", "sensors[1].two_points.residual_mmhg = nan: must be a number"),
        ('channel = "A"', 'channel = "B"', "sensors[2]: must be the only one of its bench, cuff and channel"),
        ('channel = "A"', 'channel = "C"', 'sensors[1].channel = "C": must be one of "A", "B"'),
        ("cuff = 1", "cuff = 3", "sensors[1].cuff = 3: must be a whole number from 1 to 2"),
        ("zeroed_on = 2026-11-25", 'zeroed_on = "soon"', 'sensors[1].zeroed_on = "soon": must be a date'),
        ("[[sensors]]", "[[sensors]]\nhint = 1", "sensors[1].hint = 1: must be left out: unknown key"),
        ("[[sensors]]", "[[sensors]", "must be valid TOML"),
        ("version = 1", "version = 1\n\x00", "must be a text file"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_and_left_alone(tmp_path: Path, old: str, new: str, says: str) -> None:
    settings = whole(tmp_path)
    path = tmp_path / FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    broken = path.read_bytes()
    with pytest.raises(BadInput) as caught:
        standing(settings, tmp_path, TODAY)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert str(caught.value).isprintable()
    with pytest.raises(BadInput):
        calibrate(fitted(settings)[0], tmp_path, points())
    assert path.read_bytes() == broken
    assert calibration.b_corrections(settings, tmp_path) == (Correction(),)  # the guard runs; `run` refuses the bench


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    (tmp_path / FILE).symlink_to(tmp_path / "gone")
    with pytest.raises(BadInput, match=r"calibration\.toml: must be a file that exists"):
        standing(settings, tmp_path, TODAY)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(BadInput, match=r"calibration\.toml: must be a regular file"):
        standing(settings, tmp_path, TODAY)


@pytest.mark.parametrize("changed", [{"gain": nan}, {"gain": 1.2}, {"residual_mmhg": inf}, {"gain": 1.05}])
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, changed: dict[str, float]) -> None:
    settings = whole(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(BadInput):
        calibrate(fitted(settings)[0], tmp_path, points(**changed))
    assert (tmp_path / FILE).read_bytes() == before


# --- power that fails --------------------------------------------------------------------------------------------


class PowerFailed(BaseException):
    """Nothing runs after this, no handler either."""


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_power_that_fails_while_it_is_written_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    settings = whole(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def fail(*_: object) -> None:
        raise PowerFailed

    with monkeypatch.context() as power:
        power.setattr(os, "fsync", fail) if at == "fsync" else power.setattr(Path, "replace", fail)
        with pytest.raises(PowerFailed):
            calibrate(fitted(settings)[0], tmp_path, points(residual_mmhg=1.0))
    assert (tmp_path / FILE).read_bytes() == before
    assert len(list(tmp_path.glob(f".{FILE}.*"))) == 1  # what was being written, and nobody reads
    assert standing(settings, tmp_path, TODAY).uncalibrated == ""
    calibrate(fitted(settings)[0], tmp_path, points(residual_mmhg=1.0))
    assert load_entries(tmp_path / FILE)[0].two_points == points(residual_mmhg=1.0)


def test_the_new_file_is_on_the_disk_before_it_takes_the_old_ones_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = whole(tmp_path)
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        done.append("folder" if S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def replaced(path: Path, target: Path) -> Path:
        assert path.parent == target.parent
        done.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    calibrate(fitted(settings)[0], tmp_path, points())
    assert done == ["file", "replace", "folder"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for somebody else")
def test_what_root_writes_belongs_to_whoever_the_folder_belongs_to(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    os.chown(tmp_path, 12345, 54321)
    calibrate(fitted(settings)[0], tmp_path, points())
    found = (tmp_path / FILE).stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12345, 54321, 0o600)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = whole(tmp_path)
    before = sorted(tmp_path.iterdir()), (tmp_path / FILE).read_bytes()

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        calibrate(fitted(settings)[0], tmp_path, points(residual_mmhg=1.0))
    assert (sorted(tmp_path.iterdir()), (tmp_path / FILE).read_bytes()) == before


# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_simulated_bench_needs_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("broken")
    found = standing(bench(tmp_path, SIMULATED), tmp_path, TODAY)
    assert (found.uncalibrated, found.overdue, found.a, found.calibrated_on) == ("", (), (Correction(),), {})


def test_wires_that_end_in_simulated_physics_need_none_and_use_what_there_is(tmp_path: Path) -> None:
    settings = bench(tmp_path, GPIO + "[simulated]\n")
    assert standing(settings, None, TODAY).uncalibrated == ""
    calibrate(fitted(settings)[0], tmp_path, points(residual_mmhg=9.0))
    found = standing(settings, tmp_path, TODAY)
    assert (found.uncalibrated, found.a) == ("", (Correction(1.0, 2.0),))
    with pytest.raises(Misfit):
        standing(bench(tmp_path, GPIO.replace("A-1", "A-2") + "[simulated]\n"), tmp_path, TODAY)


def test_a_whole_bench_stands(tmp_path: Path) -> None:
    settings = whole(tmp_path)
    found = standing(settings, tmp_path, TODAY)
    assert (found.uncalibrated, found.overdue, found.calibrated_on) == ("", (), {(1, "A"): TODAY, (1, "B"): TODAY})
    assert found.a == calibration.b_corrections(settings, tmp_path) == (Correction(1.0, 2.0),)


@pytest.mark.parametrize(
    ("on", "overdue"),
    [
        (date(2025, 11, 25), True),
        (date(2025, 11, 26), False),
        (date(2020, 2, 29), True),
        (TODAY, False),
    ],
)
def test_twelve_months_later_it_is_due_and_still_used(tmp_path: Path, on: date, overdue: bool) -> None:
    found = standing(whole(tmp_path, points(on)), tmp_path, TODAY)
    assert found.uncalibrated == ""
    due = calibration.due_on(on).isoformat()
    names = ("sensor A of cuff 1", "sensor B of cuff 1")
    assert found.overdue == (tuple(f"{name}, due on {due}" for name in names) if overdue else ())


def test_a_leap_day_is_due_on_the_first_of_march() -> None:
    assert calibration.due_on(date(2028, 2, 29)) == date(2029, 3, 1)
    assert calibration.due_on(date(2027, 2, 28)) == date(2028, 2, 28)


def test_other_benches_and_other_places_are_left_as_they_are(tmp_path: Path) -> None:
    whole(tmp_path)
    before = load_entries(tmp_path / FILE)
    other = bench(tmp_path, GPIO.replace('"b1"', '"b2"').replace('"A-1"', '"A-9"'))
    added = calibrate(fitted(other)[0], tmp_path, points())
    assert load_entries(tmp_path / FILE) == (*before, added)
    assert standing(bench(tmp_path), tmp_path, TODAY).uncalibrated == ""


def test_the_file_as_a_person_reads_it(tmp_path: Path) -> None:
    settings = bench(tmp_path)
    calibrate(fitted(settings)[0], tmp_path, points(by="AB", temperature_c=24.5))
    lines = (tmp_path / FILE).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert lines[3:] == [
        "version = 1", "", "[[sensors]]", 'bench_id = "b1"', "cuff = 1", 'channel = "A"', 'kind = "abp2"',
        'part = "600MG"', "bus = 1", "address = 40", "zeroed_on = 2026-11-25", "offset_mmhg = 2.0", 'serial = "A-1"',
        "zero_spread_mmhg = 0.0", "[sensors.two_points]", "calibrated_on = 2026-11-25", "gain = 1.0",
        "zero_reading_mmhg = 2.0", "reference_mmhg = 200.0", "reading_mmhg = 202.0", "check_reference_mmhg = 100.0",
        "check_reading_mmhg = 102.4", "residual_mmhg = 0.4", "spread_mmhg = 0.1", "temperature_c = 24.5", 'by = "AB"',
    ]  # fmt: skip


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_serial_comes_back_as_it_was(serial: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, FILE)
        entry = Entry("b1", 1, "A", "abp2", "600MG", 1, 40, TODAY, 0.0, serial)
        save_entry(path, entry)
        assert load_entries(path) == (entry,)


def test_a_correction_and_its_way_back() -> None:
    correction = Correction(1.05, -3.0)
    assert correction.undone(210.0) == pytest.approx(197.0)
    assert calibration.board_json(Correction(1.01234, -0.26)) == {"zero_dmmhg": -3, "gain_e4": 10123}


def test_sensors_behind_their_corrections() -> None:
    class Said:
        name, low_mmhg, high_mmhg = "s", -20.0, 450.0

        def start(self, now_s: float) -> None: ...

        def read(self, now_s: float) -> Reading:
            return Reading(now_s, 197.0, 1, 25.0)

    first, second = calibration.corrected((Said(), Said()), (Correction(), Correction(1.05, -3.0)))
    said = [sensor.read(1.0) for sensor in (first, second)]
    assert [one.pressure_mmhg for one in said if one is not None] == [197.0, pytest.approx(210.0)]


def test_the_board_rounds_no_further_than_is_taken_for_the_same() -> None:
    for offset_mmhg in (-9.96, -0.05, 0.0, 0.05, 3.14159):
        for gain in (0.9, 0.99995, 1.0, 1.05005, 1.1):
            numbers = calibration.board_json(Correction(gain, offset_mmhg))
            kept = Correction(numbers["gain_e4"] / 10_000.0, numbers["zero_dmmhg"] / 10.0)
            assert kept.same(Correction(gain, offset_mmhg))
