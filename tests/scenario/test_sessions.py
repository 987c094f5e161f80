"""Whole undisturbed sessions in virtual time: nothing trips, alarms or stretches, whatever the bench is like."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.core.model import Limb
from controller.prescription import library
from controller.prescription.protocol import load_protocol
from controller.scenario.run import Scenario, run_scenario

MEDIUM = load_protocol(Path(__file__).with_name("medium.toml"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tick_hz"),
    [
        ("bfr-30-15-15-15", 50),
        ("occlusion", 100),
        pytest.param("knee-oa", 50, marks=pytest.mark.sweep),
        pytest.param("passive-5x5", 100, marks=pytest.mark.sweep),
        pytest.param("passive-5x5", 50, marks=pytest.mark.sweep),
    ],
)
def test_every_preset_completes_in_silence(name: str, tick_hz: int) -> None:
    result = run_scenario(Scenario(library.named(name), tick_hz=tick_hz, seed=3))
    assert result["outcome"] == "completed"
    assert result["trips"] == []
    assert result["alarms"] == []
    assert result["seconds_above_lop"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limb", "cuffs", "lop_mmhg"), [(Limb.ARM, 1, 150.0), (Limb.LEG, 2, 187.0), (Limb.ARM, 2, 174.0)]
)
def test_arms_and_two_cuffs_complete_in_silence(limb: Limb, cuffs: int, lop_mmhg: float) -> None:
    result = run_scenario(Scenario(MEDIUM, lop_mmhg=lop_mmhg, limb=limb, cuffs=cuffs, percent_lop=60.0, seed=3))
    assert result["outcome"] == "completed"
    assert result["trips"] == []
    assert result["alarms"] == []
    assert {one["cuff"] for one in result["sets"]} == set(range(1, cuffs + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        {"volume_ml": 150.0, "pump_l_min": 1.5, "swing_ml": 5.0, "vent_tau_s": 0.4},
        {"volume_ml": 150.0, "pump_l_min": 4.0, "swing_ml": 15.0, "vent_tau_s": 0.4},
        {"volume_ml": 800.0, "pump_l_min": 4.0, "swing_ml": 40.0, "vent_tau_s": 1.8},
        {"volume_ml": 800.0, "pump_l_min": 2.5, "swing_ml": 5.0, "vent_tau_s": 1.8},
        {"volume_ml": 400.0, "pump_l_min": 1.5, "swing_ml": 20.0, "vent_tau_s": 1.8},
        {"sensor_noise_mmhg": 0.0, "leak_mmhg_per_min": 0.0},
        {"sensor_noise_mmhg": 1.0, "leak_mmhg_per_min": 6.0},
        {"hose_mmhg_per_l_min": 8.0, "valve_latency_ms": 40.0},
    ],
    ids=lambda plant: "-".join(f"{key}={value:g}" for key, value in plant.items()),
)
def test_no_rule_fires_on_a_plant_that_only_differs(plant: dict[str, float]) -> None:
    result = run_scenario(Scenario(MEDIUM, plant=plant, seed=5))
    assert result["trips"] == []
    assert [alarm["condition"] for alarm in result["alarms"] if alarm["condition"] != "rest_stretched"] == []
    assert result["outcome"] == "completed"
    assert result["seconds_above_lop"] == 0.0
