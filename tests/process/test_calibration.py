"""A bench of real processes and its calibration: who corrects what by which number, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from controller.calibration import Correction, fitted, in_guard
from controller.calibration_file import FILE, TwoPoints, load_entries, save_entry
from controller.settings import load

pytestmark = pytest.mark.process

LONG_AGO = date(2024, 5, 1)


def calibrated(bench: Any, a_mmhg: float, b_mmhg: float, on: date) -> None:
    """A file that says that the sensors read so much without pressure."""
    state = bench.folder / "state"
    state.mkdir(exist_ok=True)
    for sensor, zero_mmhg in zip(fitted(load(bench.config)), (a_mmhg, b_mmhg), strict=True):
        readings = 200.0 + zero_mmhg, 100.0, 100.0 + zero_mmhg
        two = TwoPoints(on, 1.0, zero_mmhg, 200.0, *readings, 0.0, 0.0)
        save_entry(state / FILE, sensor.entry(on, zero_mmhg, two))


def manchet(bench: Any, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controller", *words, "--config", str(bench.config)]
    return subprocess.run(command, env=bench.environ, capture_output=True, text=True, timeout=60.0, check=False)


def test_each_sensor_is_corrected_by_who_reads_it_and_an_old_calibration_is_a_low_alarm(
    wired_of: Callable[..., Any],
) -> None:
    """The cuff in the world is within 1.5 mmHg of empty, so what is seen is the correction: - 4 and + 5 mmHg."""
    bench = wired_of()
    calibrated(bench, 4.0, -5.0, LONG_AGO)
    bench.start()
    seen = bench.until(lambda seen: seen["cuffs"][0]["b_mmhg"] is not None, "both sensors")
    assert seen["cuffs"][0]["a_mmhg"] == pytest.approx(-4.0, abs=2.0)
    assert seen["cuffs"][0]["b_mmhg"] == pytest.approx(5.0, abs=2.0)
    (alarm,) = [one for one in seen["alarms"] if one["condition"] == "calibration_overdue"][:1]
    assert alarm["priority"] == "low"
    assert in_guard(load(bench.config), bench.folder / "state") == (Correction(1.0, -5.0),)


def test_zero_beside_a_service_is_refused_and_beside_none_is_done_through_the_guard(
    wired_of: Callable[..., Any],
) -> None:
    """The guard shows B with 5 mmHg too much, as it was told to: the new zero is that of the sensor itself."""
    bench = wired_of()
    calibrated(bench, 4.0, -5.0, LONG_AGO)
    bench.start_world()
    bench.start_guard()
    bench.start_control()
    beside = manchet(bench, "zero")
    assert (beside.returncode, beside.stdout) == (1, "")
    assert "is controlled already" in beside.stderr
    bench.process.terminate()
    bench.ended()

    alone = manchet(bench, "zero")
    assert alone.returncode == 0, alone.stderr
    for entry in load_entries(bench.folder / "state" / FILE):
        assert entry.offset_mmhg == pytest.approx(0.0, abs=2.0)
        assert entry.zeroed_on == datetime.now(UTC).date()
        assert entry.two_points is not None
    assert in_guard(load(bench.config), bench.folder / "state") == (Correction(1.0, -5.0),)  # until it is restarted


def test_a_bench_with_another_sensor_than_the_calibrated_one_does_not_start(wired_of: Callable[..., Any]) -> None:
    bench = wired_of()
    calibrated(bench, 0.0, 0.0, LONG_AGO)
    text = bench.config.read_text()
    bench.config.write_text(text.replace("sensor_b = { ", 'sensor_b = { serial = "B-2", ', 1))
    refused = manchet(bench, "run")
    assert refused.returncode == 1
    assert refused.stderr.startswith("manchet: sensor B of cuff 1 is serial B-2 in the bench's file and was")
    assert refused.stderr.count("\n") == 1


def test_a_broken_calibration_does_not_start_either(wired_of: Callable[..., Any]) -> None:
    bench = wired_of()
    (bench.folder / "state").mkdir()
    (bench.folder / "state" / FILE).write_text("version = 1\n[[sensors]]\noffset_mmhg = nan\n")
    refused = manchet(bench, "run")
    assert refused.returncode == 2
    assert "calibration.toml: sensors[1]." in refused.stderr
    assert refused.stderr.count("\n") == 1
