"""Whole self-tests in virtual time on the real app: a sound bench passes, and each defect is found by its row."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from controller.core.model import Limb, Phase
from controller.prescription import library
from controller.scenario.faults import FAULTS, Planned
from controller.scenario.run import Scenario
from controller.scenario.selftest import Examiner, LivedTest, run_selftest

PROTOCOL = library.named("bfr-30-15-15-15")
GRID = tuple(product((150.0, 400.0, 800.0), (1.5, 3.0, 4.0), (0.4, 0.8, 1.8)))
CORNERS = tuple(product((150.0, 800.0), (1.5, 4.0), (0.4, 1.8)))


def bench(*faults: str, cuffs: int = 1, **scenario: Any) -> dict[str, Any]:
    planned = tuple(Planned(FAULTS[name], phase=Phase.TESTING) for name in faults)
    return run_selftest(Scenario(PROTOCOL, cuffs=cuffs, faults=planned, **scenario))


def failed(result: dict[str, Any]) -> list[str]:
    return [f"{row['row']}#{row['cuff'] or 0}" for row in result["rows"] if row["verdict"] == "failed"]


def figure(result: dict[str, Any], row: str, cuff: int = 1) -> float:
    (found,) = [one for one in result["rows"] if (one["row"], one["cuff"]) == (row, cuff)]
    value: float = found["value"]
    return value


def passes(result: dict[str, Any]) -> None:
    assert failed(result) == [], result["text"]
    assert result["outcome"] == "passed"
    assert result["trip"] is None
    assert {row["verdict"] for row in result["rows"]} == {"passed"}
    assert max(result["max_true_mmhg"]) < 160.0
    assert max(result["final_true_mmhg"]) < 15.0


# --- a sound bench ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("limb", "lop_mmhg"), [(Limb.LEG, 187.0), (Limb.ARM, 120.0)], ids=str)
@pytest.mark.parametrize("cuffs", [1, 2])
@pytest.mark.parametrize("prescribed", [False, True], ids=["nobody", "prescribed"])
def test_the_default_bench_passes(limb: Limb, lop_mmhg: float, cuffs: int, prescribed: bool) -> None:
    result = run_selftest(Scenario(PROTOCOL, lop_mmhg=lop_mmhg, limb=limb, cuffs=cuffs), prescribed)
    passes(result)
    for cuff in range(1, cuffs + 1):
        assert figure(result, "leak", cuff) == pytest.approx(3.0, abs=1.5)  # the plant's own, creep taken off
        assert figure(result, "vent", cuff) == pytest.approx(0.8 * 2.69, abs=0.3)
        if prescribed:
            assert result["max_true_mmhg"][cuff - 1] < min(0.8 * lop_mmhg + 10.0, lop_mmhg)
            assert 90.0 < result["restricted_s"][cuff - 1] < 130.0


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("plant", CORNERS, ids=str)
def test_every_corner_of_the_plants_passes(plant: tuple[float, float, float]) -> None:
    passes(bench(plant=dict(zip(("volume_ml", "pump_l_min", "vent_tau_s"), plant, strict=True))))


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("limb", Limb)
@pytest.mark.parametrize("plant", GRID, ids=str)
def test_every_plant_passes(plant: tuple[float, float, float], limb: Limb) -> None:
    passes(bench(limb=limb, plant=dict(zip(("volume_ml", "pump_l_min", "vent_tau_s"), plant, strict=True))))


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize(
    "plant",
    [
        {"sensor_noise_mmhg": 0.0},
        {"sensor_noise_mmhg": 0.6},
        {"drift_ml_per_min": 15.0},
        {"hose_mmhg_per_l_min": 15.0},
        {"pump_spin_up_ms": 400.0},
    ],
    ids=str,
)
def test_noise_creep_and_hoses_are_no_defects(plant: dict[str, float]) -> None:
    passes(bench(plant=plant))


# --- each defect and its row -----------------------------------------------------------------------------------------

FOUND_BY = {
    "a_unplugged": "sensors#1",
    "b_missing": "sensors#1",
    "bus_hangs": "sensors#1",
    "a_reads_high": "zero#1",
    "b_reads_high": "zero#1",
    "a_off_zero": "zero#1",
    "b_off_zero": "zero#1",
    "a_stuck": "fills#1",
    "a_frozen": "fills#1",
    "b_stuck": "fills#1",
    "tube_swapped": "fills#1",
    "tube_kinked": "fills#1",
    "tube_off": "fills#1",
    "pump_dead": "fills#1",
    "vent_stuck_open": "fills#1",
    "dump_stuck_open": "fills#1",
    "pump_stuck_on": "closes#1",
    "pump_weak": "rise#1",
    "pump_enable_stuck": "pwm_alone#1",
    "pump_pwm_stuck": "enable_alone#1",
    "dump_stuck_closed": "dump#1",
    "vent_stuck_closed": "vent#1",
    "tube_seeps": "leak#1",
    "tube_leaks": "leak#1",
    "estop": "estop#0",
    "guard_hung": "arms#1",
    "guard_reboot": "arms#1",
    "link_unplugged": "arms#1",
    "link_backlog": "refusal#0",
    "operator_away": "confirmed#1",
}


@pytest.mark.parametrize("name", FOUND_BY)
def test_each_defect_is_found_by_the_row_that_should_find_it(name: str) -> None:
    result = bench(name)
    assert result["outcome"] == "failed"
    assert failed(result)[-1] == FOUND_BY[name]
    assert max(result["max_true_mmhg"]) < 200.0
    if name not in ("pump_stuck_on", "tube_kinked"):
        assert max(result["final_true_mmhg"]) < 15.0
    assert result["phase"] == ("fault" if result["trip"] else "idle")


@pytest.mark.parametrize("name", ["vent_stuck_open", "dump_stuck_open"])
def test_a_valve_that_stays_open_under_a_pump_that_fills_all_the_same(name: str) -> None:
    assert failed(bench(name, limb=Limb.ARM, plant={"slack_ml": 0.0})) == ["closes#1"]


def test_exchanged_sensors_are_found_before_anything_is_under_pressure_for_long() -> None:
    result = bench("sensors_exchanged", cuffs=2)
    assert failed(result) == ["alone#1"]
    assert max(result["max_true_mmhg"]) < 15.0


@pytest.mark.parametrize(
    ("name", "row"), [("vent_stuck_closed", "vent#2"), ("pump_enable_stuck", "pwm_alone#2"), ("tube_kinked", "fills#2")]
)
def test_a_defect_of_the_second_cuff_is_its_own(name: str, row: str) -> None:
    planned = (Planned(FAULTS[name], phase=Phase.TESTING, cuff=1),)
    assert failed(run_selftest(Scenario(PROTOCOL, cuffs=2, faults=planned))) == [row]


def test_a_person_who_saw_another_cuff_fill_ends_it() -> None:
    def look(lived: LivedTest) -> None:
        assert isinstance(lived.supervisor, Examiner)
        lived.supervisor.wrong = True

    result = run_selftest(Scenario(PROTOCOL), prescribed=True, look=look)
    assert failed(result) == ["confirmed#1"]
    assert "expected right leg" in result["rows"][-1]["text"] or any(
        "expected right leg" in row["text"] for row in result["rows"]
    )


@pytest.mark.parametrize("name", ["estop", "guard_hung", "tube_kinked", "pump_stuck_on", "a_unplugged", "b_missing"])
@pytest.mark.slow
@pytest.mark.parametrize("after_s", [9.5, 60.0])
def test_whatever_breaks_in_the_midst_of_it_ends_vented_and_below_the_ceiling(name: str, after_s: float) -> None:
    planned = (Planned(FAULTS[name], phase=Phase.TESTING, after_s=after_s),)
    result = run_selftest(Scenario(PROTOCOL, faults=planned))
    assert result["outcome"] == "failed"
    assert max(result["max_true_mmhg"]) < 210.0
    if name not in ("tube_kinked", "pump_stuck_on"):
        assert max(result["final_true_mmhg"]) < 15.0
    else:
        assert result["trip"] is not None
