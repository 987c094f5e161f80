"""The same scenario through each of the five sensors: the same outcome, no trip, time in band within two points."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from controller.core.model import Phase
from controller.hardware import FAMILIES, sensor
from controller.prescription.protocol import load_protocol
from controller.scenario.faults import FAULTS, Planned, possible
from controller.scenario.run import Scenario, run_scenario
from controller.settings import SensorKind, SensorSettings
from controller.simulation import device_for
from firmware_bridge.simulated.bus import SimulatedBus

MEDIUM = load_protocol(Path(__file__).with_name("medium.toml"))
SHORT = load_protocol(Path(__file__).parents[1] / "faults" / "short.toml")
KINDS: tuple[SensorKind, ...] = get_args(SensorKind)
OTHERS = [kind for kind in KINDS if kind != "abp2"]
OF_A = [*[name for name, fault in FAULTS.items() if fault.of_a], "a_stuck", "tube_swapped", "bus_hangs"]
CANNOT = {
    ("mpr", "a_browned_out"),
    ("hsc", "a_browned_out"),
    ("xgzp6847d", "a_browned_out"),
    ("abp2", "a_browned_out"),
    ("xgzp6847d", "a_memory"),
    ("mpx5050", "a_memory"),
    ("mpx5050", "a_busy"),
}


def in_band(result: dict[str, Any]) -> float:
    """Time within 10 % of the target, as a share of all sets."""
    times = [one["time_in_10pct"] for one in result["sets"]]
    return sum(times) / len(times)


FITTED = [
    SensorSettings(bus=1, kind=kind, part=part)  # type: ignore[arg-type]
    for kind, family in FAMILIES.items()
    for part in family.parts
] + [SensorSettings(bus=1, kind="mpx5050", divider=True), SensorSettings(bus=1, kind="mpx5050", supply_v=5.0)]


@pytest.mark.parametrize("fitted", FITTED, ids=lambda one: f"{one.kind}-{one.part}-{one.divider}-{one.supply_v}")
def test_driver_and_device_of_every_part_agree(fitted: SensorSettings) -> None:
    """They were written apart, each from the datasheet."""
    now_s, true_mmhg = 0.0, 0.0
    bus = SimulatedBus(lambda: now_s)
    bus.devices[fitted.place[1]] = device_for(fitted, lambda _now_s: true_mmhg, Random(0), 0.0, 0.0)
    driver = sensor(bus, fitted, "sensor A")
    for true_mmhg in (0.0, 30.0, 150.0, 290.0):
        taken = []
        for _ in range(10):
            now_s += 0.01
            driver.start(now_s)
            now_s += 0.01
            taken.append(driver.read(now_s))
        last = [one for one in taken if one is not None][-1]
        assert last.pressure_mmhg == pytest.approx(true_mmhg, abs=0.05)
        assert 0.0 < now_s - last.at_s < 0.05


@pytest.fixture(scope="module")
def with_abp2() -> dict[str, Any]:
    return run_scenario(Scenario(MEDIUM, seed=3))


@pytest.mark.parametrize("kind", OTHERS)
def test_another_sensor_makes_no_other_session(kind: SensorKind, with_abp2: dict[str, Any]) -> None:
    result = run_scenario(Scenario(MEDIUM, seed=3, sensor=kind))
    assert (result["outcome"], result["trips"], result["alarms"]) == ("completed", [], [])
    assert with_abp2["outcome"] == "completed"
    assert result["seconds_above_lop"] == 0.0
    assert abs(in_band(result) - in_band(with_abp2)) <= 0.02
    assert [one["reps"] for one in result["sets"]] == [one["reps"] for one in with_abp2["sets"]]
    assert max(one["overshoot_mmhg"] for one in result["inflations"]) <= 3.0
    assert result["trace_sha256"] != with_abp2["trace_sha256"], "it was another sensor"


@pytest.mark.parametrize("kind", [kind for kind in OTHERS if kind != "mpr"])
def test_another_sensor_b_makes_no_other_session(kind: SensorKind, with_abp2: dict[str, Any]) -> None:
    """One slower than the guard's pass too: while it converts, its last reading stands for that pass."""
    result = run_scenario(Scenario(MEDIUM, seed=3, sensor_b=kind))
    assert (result["outcome"], result["trips"], result["alarms"]) == ("completed", [], [])
    assert abs(in_band(result) - in_band(with_abp2)) <= 0.02
    assert result["trace_sha256"] != with_abp2["trace_sha256"], "it was another sensor"


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plant", [{"sensor_noise_mmhg": 0.0, "leak_mmhg_per_min": 0.0}, {"sensor_noise_mmhg": 1.0}])
def test_no_rule_fires_with_any_sensor_noise_free_or_not(kind: SensorKind, plant: dict[str, float]) -> None:
    """14 bits stand still more easily than 24, and one sample in two ticks is older."""
    result = run_scenario(Scenario(MEDIUM, seed=5, sensor=kind, plant=plant, tick_hz=50, cuffs=2))
    assert (result["outcome"], result["trips"]) == ("completed", [])
    assert [one["condition"] for one in result["alarms"] if one["condition"] != "rest_stretched"] == []


def test_a_fault_that_a_family_has_not_is_none_of_its_faults() -> None:
    refused = {(kind, name) for kind in KINDS for name in OF_A if not possible(FAULTS[name], kind)}
    assert refused == CANNOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in OTHERS for name in OF_A if (kind, name) not in CANNOT]
)
def test_every_fault_of_a_is_answered_with_every_sensor(kind: SensorKind, name: str) -> None:
    fault = Planned(FAULTS[name], phase=Phase.HOLDING, after_s=1.0)
    result = run_scenario(Scenario(SHORT, percent_lop=80.0, seed=7, sensor=kind, faults=(fault,)))
    assert result["outcome"] == "tripped"
    (trip,) = result["trips"]
    assert trip["rule"] in FAULTS[name].answer
    assert trip["vent_commanded_after_s"] == 0.0
    assert trip["below_15_after_s"] <= 5.0
