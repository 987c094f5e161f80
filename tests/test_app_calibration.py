"""What the control process makes of a calibration: what READY is told, what is alarmed, what goes out with `info`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from controller import app, calibration, hardware
from controller.calibration import b_corrections, fitted, handed_over
from controller.calibration_file import FILE, TwoPoints, save_entry
from controller.core.model import EventKind, Happened, Phase
from controller.core.step import Stepped
from controller.messages import Info
from controller.settings import SensorSettings, Settings, load
from firmware_bridge.simulated.bus import SimulatedBus

TODAY = datetime.now(UTC).date()
BENCH = """bench_id = "b1"
[guard]
kind = "gpio"
gpio = { estop_gpio = 6, heartbeat_gpio = 17 }
[[cuffs]]
sensor = { bus = 1 }
sensor_b = { bus = 3 }
lines = { pump_gpio = 12, pump_enable_gpio = 16, vent_gpio = 20, dump_gpio = 21 }
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A bench of wires; there is nobody on its buses."""

    def bus(_number: int, clock: Callable[[], float]) -> SimulatedBus:
        return SimulatedBus(clock)

    monkeypatch.setattr("controller.hardware.LinuxBus", bus)
    path = tmp_path / "bench.toml"
    path.write_text(BENCH, encoding="utf-8")
    return load(path)


def calibrated(settings: Settings, state: Path, on: date) -> None:
    for sensor in fitted(settings):
        two = TwoPoints(on, 1.0, 2.0, 200.0, 202.0, 100.0, 102.0, 0.0, 0.0)
        save_entry(state / FILE, sensor.entry(on, 2.0, two))
    handed_over(settings, state, b_corrections(settings, state))


def service(settings: Settings, folder: Path, state: Path | None) -> tuple[str, list[str], list[str | None]]:
    """Why it is not READY, what is overdue, and the dates that go out, A before B."""
    told: list[Any] = []

    class Heard(app.Unpublished):
        def publish(self, payload: Any) -> None:
            told.append(payload)

    async def made() -> tuple[str, list[str], list[str | None]]:
        place = app.Place(folder / "b1.sock", folder / "b1.sqlite", state)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "_publisher", lambda *_: Heard())
            one = app.Service(settings, place, asyncio.get_running_loop(), "0")
        overdue = [notice.detail for notice in one._notices() if notice.condition == "calibration_overdue"]
        one.journal.close(0.3)
        (info,) = [payload for payload in told if isinstance(payload, Info)]
        return one.control._settings.bench.uncalibrated, overdue, [one.calibrated_on for one in info.sensors]

    return asyncio.run(made())


@pytest.mark.parametrize("there_is_a_folder", [True, False])
def test_a_bench_of_wires_that_was_never_calibrated_is_not_ready(
    settings: Settings, tmp_path: Path, there_is_a_folder: bool
) -> None:
    uncalibrated, overdue, on = service(settings, tmp_path, tmp_path if there_is_a_folder else None)
    assert uncalibrated.startswith("sensor A of cuff 1 has never been calibrated")
    assert (overdue, on) == ([], [None, None])


def test_a_calibrated_one_is_and_says_since_when(settings: Settings, tmp_path: Path) -> None:
    calibrated(settings, tmp_path, TODAY)
    assert service(settings, tmp_path, tmp_path) == ("", [], [TODAY.isoformat()] * 2)


def test_an_old_one_is_ready_and_alarms(settings: Settings, tmp_path: Path) -> None:
    calibrated(settings, tmp_path, date(2020, 1, 2))
    uncalibrated, overdue, on = service(settings, tmp_path, tmp_path)
    assert (uncalibrated, on) == ("", ["2020-01-02"] * 2)
    assert overdue == ["sensor A of cuff 1, due on 2021-01-02", "sensor B of cuff 1, due on 2021-01-02"]


def test_another_sensor_is_refused_before_anything_is_opened(settings: Settings, tmp_path: Path) -> None:
    calibrated(settings, tmp_path, TODAY)
    path = tmp_path / "bench.toml"
    path.write_text(BENCH.replace("bus = 1", "bus = 2"), encoding="utf-8")
    with pytest.raises(calibration.Misfit, match="sensor A of cuff 1 is on bus 2 in the bench's file"):
        service(load(path), tmp_path, tmp_path)
    assert not (tmp_path / "b1.sqlite").exists()


def test_a_guard_that_was_started_anew_with_other_corrections_is_found_at_the_reset(
    settings: Settings, tmp_path: Path
) -> None:
    calibrated(settings, tmp_path, TODAY)

    async def reset() -> list[str]:
        place = app.Place(tmp_path / "b1.sock", tmp_path / "b1.sqlite", tmp_path)
        one = app.Service(settings, place, asyncio.get_running_loop(), "0")
        found = [one.control._settings.bench.uncalibrated]
        handed_over(settings, tmp_path, [calibration.Correction()])  # as a guard does whose sensor B is another one
        state, outputs = one.control.state, one.control.outputs
        event = Happened(EventKind.PHASE, 0.0, Phase.IDLE, None, {"from": "fault", "event": "reset"})
        one._look_anew(Stepped(state, outputs, (event,), ()), 0.0)
        found.append(one.control._settings.bench.uncalibrated)
        for _ in range(500):
            if one.control._settings.bench.uncalibrated != found[-1]:
                break
            await asyncio.sleep(0.01)
        found.append(one.control._settings.bench.uncalibrated)
        (tmp_path / FILE).write_text("what")
        one._look_anew(Stepped(state, outputs, (event,), ()), 0.0)
        found.append(one._uncalibrated())
        await asyncio.sleep(0.1)
        one.journal.close(0.3)
        return found

    at_first, meanwhile, then, broken = asyncio.run(reset())
    assert at_first == ""
    assert meanwhile == "the calibration is being looked at"
    assert then.startswith("the guard does not have the calibration of its sensor B yet")
    assert broken.endswith("restart the service")


@pytest.mark.parametrize("kind", sorted(hardware.FAMILIES))
def test_the_scale_of_a_sensor_that_others_read_needs_no_bus(kind: Any) -> None:
    low_mmhg, high_mmhg = hardware.scale_mmhg(SensorSettings(bus=250, kind=kind))
    assert low_mmhg < 0.0 < 290.0 < high_mmhg


def test_a_guard_that_was_started_anew_with_real_lines_is_found_at_the_reset(tmp_path: Path) -> None:
    """Control with [simulated], and somebody who took that table out of the file and started the guard alone."""
    path = tmp_path / "bench.toml"
    path.write_text(BENCH + "[simulated]\n", encoding="utf-8")

    async def reset() -> str:
        place = app.Place(tmp_path / "b1.sock", tmp_path / "b1.sqlite", tmp_path)
        one = app.Service(load(path), place, asyncio.get_running_loop(), "0")
        assert one._uncalibrated() == ""
        (tmp_path / "b1.lines.json").write_text("{}")
        found = one._uncalibrated()
        one.journal.close(0.3)
        return found

    found = asyncio.run(reset())
    assert "the guard of bench b1 has real lines, and its file says [simulated]" in found
    assert found.endswith("remove that table, and restart the service")
