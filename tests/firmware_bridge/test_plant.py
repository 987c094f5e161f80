"""The pneumatic plant: what it refuses, how it breaks, and that it obeys the physics it claims."""

from __future__ import annotations

from dataclasses import asdict, fields
from itertools import product
from math import exp, inf, isfinite, nan

import pytest

from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import (
    PLANT_KEYS,
    RELIEF_MMHG,
    SLACK_MMHG,
    Cuff,
    PlantSettings,
    arm_settings,
    plant_settings,
)

TICK_S = 0.01


def run(cuff: Cuff, seconds: float) -> None:
    begin = cuff.now_s
    for tick in range(1, round(seconds / TICK_S) + 1):
        cuff.advance(begin + tick * TICK_S)


def pump(cuff: Cuff, duty: float = 1.0) -> None:
    cuff.vent_open = cuff.dump_open = False
    cuff.pump_enabled, cuff.pump_duty = True, duty


def shut(cuff: Cuff) -> None:
    cuff.vent_open = cuff.dump_open = False
    cuff.pump_enabled, cuff.pump_duty = False, 0.0


def at_pressure(mmhg: float, **keys: float) -> Cuff:
    """A closed cuff at this pressure, its pump at rest and its hose settled."""
    cuff = Cuff(plant_settings({"leak_mmhg_per_min": 0.0, "drift_ml_per_min": 0.0, **keys}))
    pump(cuff)
    while cuff.cuff_mmhg < mmhg:
        run(cuff, TICK_S)
    shut(cuff)
    run(cuff, 1.0)
    return cuff


# --- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANT_KEYS)
@pytest.mark.parametrize("number", [nan, inf, -inf, -1e9, 1e9])
def test_refuses_what_is_no_plant(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} = .*: must be .* to .* "):
        plant_settings({name: number})


def test_refuses_an_unknown_key_and_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"^volume = 400: must be one of volume_ml, slack_ml, "):
        plant_settings({"volume": 400.0})


@pytest.mark.parametrize("name", PLANT_KEYS)
def test_takes_both_ends_of_its_bounds_and_changes_nothing_else(name: str) -> None:
    base = PlantSettings()
    for number in (PLANT_KEYS[name].low, PLANT_KEYS[name].high):
        assert asdict(plant_settings({name: number}, base)) == {**asdict(base), name: number}
    assert base == PlantSettings()


def test_defaults_keep_their_own_bounds() -> None:
    for settings in (PlantSettings(), arm_settings()):
        assert plant_settings(asdict(settings)) == settings
    assert [field.name for field in fields(PlantSettings)] == list(PLANT_KEYS)


# --- how it breaks -----------------------------------------------------------------------------------------------


def test_stuck_pwm_stops_with_the_enable_switch() -> None:
    cuff = at_pressure(100.0)
    cuff.pump_stuck_duty = 1.0
    run(cuff, 1.0)
    assert cuff.pump_flow_ml_s == pytest.approx(0.0, abs=1e-6)
    cuff.pump_enable_stuck = True
    run(cuff, 1.0)
    assert cuff.pump_flow_ml_s > 20.0


def test_stuck_enable_alone_moves_no_air() -> None:
    cuff = at_pressure(100.0)
    before = cuff.cuff_mmhg
    cuff.pump_enable_stuck = True
    run(cuff, 1.0)
    assert cuff.cuff_mmhg == pytest.approx(before, abs=0.01)


@pytest.mark.parametrize("stuck", ["vent_stuck", "dump_stuck"])
def test_runaway_pump_with_one_valve_stuck_shut_stays_low_behind_the_other(stuck: str) -> None:
    cuff = at_pressure(150.0)
    cuff.pump_stuck_duty, cuff.pump_enable_stuck = 1.0, True
    setattr(cuff, stuck, "closed")
    cuff.vent_open = cuff.dump_open = True
    run(cuff, 5.0)
    assert 5.0 < cuff.cuff_mmhg < 60.0


def test_relief_valve_holds_a_runaway_pump_below_330() -> None:
    cuff = at_pressure(150.0, pump_stall_mmhg=600.0, pump_l_min=4.0)
    cuff.pump_stuck_duty, cuff.pump_enable_stuck = 1.0, True
    run(cuff, 20.0)
    assert RELIEF_MMHG < cuff.cuff_mmhg < 330.0


def test_kinked_tube_closes_the_cuff_off_from_pump_and_valves() -> None:
    cuff = at_pressure(150.0)
    before = cuff.cuff_mmhg
    cuff.tube_kinked = True
    pump(cuff)
    run(cuff, 1.0)
    assert cuff.manifold_mmhg > 300.0
    assert cuff.cuff_mmhg == pytest.approx(before, abs=0.01)
    shut(cuff)
    cuff.vent_open = cuff.dump_open = True
    run(cuff, 5.0)
    assert cuff.manifold_mmhg < 1.0
    assert cuff.cuff_mmhg == pytest.approx(before, abs=0.01)


def test_tube_off_empties_the_cuff_and_the_pump_blows_into_the_room() -> None:
    cuff = at_pressure(150.0)
    cuff.tube_off = True
    pump(cuff)
    run(cuff, 3.0)
    assert cuff.cuff_mmhg < 15.0
    assert cuff.manifold_mmhg < 15.0


@pytest.mark.parametrize(("position", "open_"), [("open", True), ("closed", False)])
@pytest.mark.parametrize("valve", ["vent", "dump"])
def test_stuck_valve_stands_where_it_sticks(valve: str, position: str, open_: bool) -> None:
    cuff = at_pressure(150.0)
    for pin in (True, False):
        cuff.vent_open = cuff.dump_open = pin
        setattr(cuff, f"{valve}_stuck", position)
        run(cuff, 0.1)
        assert getattr(cuff, f"{valve}_is_open") is open_


def test_weak_pump_gives_its_share() -> None:
    whole, weak = Cuff(PlantSettings()), Cuff(PlantSettings())
    weak.pump_weak = 0.4
    for cuff in (whole, weak):
        pump(cuff)
        run(cuff, 1.0)
    assert weak.pump_flow_ml_s == pytest.approx(0.4 * whole.pump_flow_ml_s, rel=0.02)


def test_extra_leak_adds_up() -> None:
    cuff = at_pressure(150.0)
    cuff.leak_extra_mmhg_per_min = 600.0
    before = cuff.cuff_mmhg
    run(cuff, 1.0)
    assert before - cuff.cuff_mmhg == pytest.approx(10.0, rel=0.08)


# --- physics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume_ml", [150.0, 400.0, 800.0])
@pytest.mark.parametrize("wall", [0.0, 0.5, 2.0])
def test_isothermal_gas_in_a_giving_wall(volume_ml: float, wall: float) -> None:
    """(P + 760) (V + wall P) = 760 (V + air pumped in): what the pump gave is what the law asks for."""
    cuff = Cuff(
        plant_settings(
            {
                "volume_ml": volume_ml,
                "wall_compliance_ml_per_mmhg": wall,
                "slack_ml": 0.0,
                "leak_mmhg_per_min": 0.0,
                "drift_ml_per_min": 0.0,
                "hose_mmhg_per_l_min": 0.0,
            }
        )
    )
    pump(cuff)
    given_ml = 0.0
    while cuff.cuff_mmhg < 180.0:
        cuff.advance(cuff.now_s + 0.005)
        given_ml += cuff.pump_flow_ml_s * 0.005
    gauge = cuff.cuff_mmhg - SLACK_MMHG
    needs_ml = (gauge + 760.0) * (volume_ml + wall * gauge) / 760.0 - volume_ml
    assert given_ml == pytest.approx(needs_ml + 0.03 * cuff.manifold_mmhg, rel=0.02)


def test_slack_is_filled_near_zero_and_again_after_a_release() -> None:
    cuff = Cuff(PlantSettings())
    for _ in range(2):
        pump(cuff)
        begin = cuff.now_s
        while cuff.cuff_mmhg < 10.0:
            run(cuff, TICK_S)
        assert cuff.now_s - begin == pytest.approx(300.0 / 50.0, rel=0.1)  # 300 mL at 3 L/min
        shut(cuff)
        cuff.vent_open = cuff.dump_open = True
        run(cuff, 20.0)


def test_pump_flow_falls_linearly_to_its_stall() -> None:
    cuff = Cuff(plant_settings({"pump_stall_mmhg": 300.0}))
    pump(cuff)
    while cuff.cuff_mmhg < 200.0:
        run(cuff, TICK_S)
        if cuff.now_s > 1.0:
            assert cuff.pump_flow_ml_s == pytest.approx(50.0 * (1.0 - cuff.manifold_mmhg / 300.0), rel=0.001)


def test_pump_stands_still_up_to_its_dead_band_and_spins_up_behind_it() -> None:
    still, slow, whole = (Cuff(PlantSettings()) for _ in range(3))
    pump(still, 0.15)
    pump(slow, 0.575)
    pump(whole, 1.0)
    for cuff in (still, slow, whole):
        run(cuff, 0.06)
    assert still.pump_flow_ml_s == 0.0
    assert whole.pump_flow_ml_s == pytest.approx(50.0 * (1.0 - exp(-1.0)), rel=0.03)  # one time constant
    assert slow.pump_flow_ml_s == pytest.approx(0.5 * whole.pump_flow_ml_s, rel=0.01)


@pytest.mark.parametrize("tau_s", [0.4, 0.8, 1.8])
@pytest.mark.parametrize("volume_ml", [150.0, 400.0, 800.0])
@pytest.mark.parametrize("valve", ["vent_open", "dump_open"])
def test_one_valve_empties_with_its_time_constant(valve: str, volume_ml: float, tau_s: float) -> None:
    cuff = at_pressure(150.0, volume_ml=volume_ml, vent_tau_s=tau_s, valve_latency_ms=0.0)
    setattr(cuff, valve, True)
    before = cuff.cuff_mmhg
    run(cuff, tau_s)
    assert before / cuff.cuff_mmhg == pytest.approx(exp(1.0), rel=0.15)


def test_both_valves_empty_faster_than_one() -> None:
    one, both = at_pressure(150.0), at_pressure(150.0)
    one.vent_open = both.vent_open = both.dump_open = True
    run(one, 0.5)
    run(both, 0.5)
    assert both.cuff_mmhg < 0.75 * one.cuff_mmhg


def test_a_valve_moves_after_its_latency_and_a_shorter_pulse_is_lost() -> None:
    cuff = at_pressure(150.0, valve_latency_ms=15.0)
    cuff.vent_open = True
    run(cuff, 0.01)
    assert not cuff.vent_is_open
    cuff.vent_open = False
    run(cuff, 0.1)
    assert not cuff.vent_is_open
    assert cuff.cuff_mmhg == pytest.approx(cuff.manifold_mmhg, abs=0.01)
    cuff.vent_open = True
    run(cuff, 0.02)
    assert cuff.vent_is_open


def test_sensor_a_reads_high_while_pumping_low_while_venting_and_true_while_closed() -> None:
    cuff = at_pressure(100.0)
    assert cuff.manifold_mmhg == pytest.approx(cuff.cuff_mmhg, abs=0.01)
    pump(cuff)
    run(cuff, 0.5)
    assert cuff.manifold_mmhg - cuff.cuff_mmhg == pytest.approx(2.0 * cuff.pump_flow_ml_s * 0.06, rel=0.05)
    shut(cuff)
    cuff.vent_open = True
    run(cuff, 0.1)
    assert 0.7 * cuff.cuff_mmhg < cuff.manifold_mmhg < 0.95 * cuff.cuff_mmhg


def test_leak_is_that_of_a_closed_cuff_at_150() -> None:
    cuff = at_pressure(151.5, leak_mmhg_per_min=6.0)
    begin = cuff.cuff_mmhg
    run(cuff, 30.0)
    assert begin - cuff.cuff_mmhg == pytest.approx(3.0, rel=0.05)


def test_creep_lets_the_pressure_sink_and_recovers_in_a_rest() -> None:
    cuff = at_pressure(150.0, drift_ml_per_min=8.0)
    before = cuff.cuff_mmhg
    run(cuff, 60.0)
    assert 5.0 < before - cuff.cuff_mmhg < 12.0
    first = before - cuff.cuff_mmhg
    cuff.vent_open = True
    run(cuff, 30.0)
    pump(cuff)
    while cuff.cuff_mmhg < before:
        run(cuff, TICK_S)
    shut(cuff)
    run(cuff, 1.0)
    again = cuff.cuff_mmhg
    run(cuff, 60.0)
    assert again - cuff.cuff_mmhg == pytest.approx(first, rel=0.1)


def test_what_it_computes_does_not_depend_on_who_reads_when() -> None:
    often, seldom = (Cuff(PlantSettings(), SimulatedLimb(PlantSettings(), 3)) for _ in range(2))
    for cuff in (often, seldom):
        cuff.limb.begin_set(4.0, 2.0, 0.0, 2.0, 2)  # type: ignore[attr-defined]
        pump(cuff)
    for tick in range(1, 12_001):
        often.advance(tick * 0.001)
        often.cuff_at(tick * 0.001 - 0.0005)
    seldom.advance(12.0)
    assert (often.cuff_mmhg, often.manifold_mmhg) == (seldom.cuff_mmhg, seldom.manifold_mmhg)
    assert often.manifold_at(12.0) == seldom.manifold_at(11.0)


@pytest.mark.parametrize("ends", list(product((0, 1), repeat=4)), ids=lambda ends: "".join(map(str, ends)))
def test_no_setting_within_the_bounds_is_unstable(ends: tuple[int, ...]) -> None:
    names = ("volume_ml", "hose_mmhg_per_l_min", "vent_tau_s", "pump_l_min")
    keys = {name: (PLANT_KEYS[name].low, PLANT_KEYS[name].high)[end] for name, end in zip(names, ends, strict=True)}
    cuff = Cuff(plant_settings({"slack_ml": 0.0, "wall_compliance_ml_per_mmhg": 0.0, **keys}))
    pump(cuff)
    for _ in range(500):
        run(cuff, TICK_S)
        assert isfinite(cuff.manifold_mmhg)
        assert -1.0 <= cuff.cuff_mmhg < 340.0
    shut(cuff)
    cuff.vent_open = cuff.dump_open = True
    run(cuff, 0.1)
    last = cuff.cuff_mmhg
    for _ in range(500):
        run(cuff, TICK_S)
        assert -1.0 <= cuff.cuff_mmhg <= last + 1e-9
        last = cuff.cuff_mmhg


def test_least_inflation_is_what_full_duty_takes_and_touches_nothing() -> None:
    cuff = Cuff(PlantSettings())
    least_s = cuff.least_inflation_s(150.0)
    assert cuff.cuff_mmhg == 0.0
    assert cuff.vent_is_open
    pump(cuff)
    while cuff.cuff_mmhg < 148.0:
        cuff.advance(cuff.now_s + 0.005)
    assert cuff.now_s == pytest.approx(least_s, abs=0.03)  # the valves' latency
    assert 8.0 < least_s < 12.0


def test_least_inflation_of_a_pump_that_stalls_below_the_target_is_never() -> None:
    assert Cuff(plant_settings({"pump_stall_mmhg": 120.0})).least_inflation_s(150.0, at_most_s=30.0) == inf


def test_a_cuff_may_begin_at_any_time() -> None:
    early, late = Cuff(PlantSettings()), Cuff(PlantSettings(), start_s=1000.0)
    for cuff, begin in ((early, 0.0), (late, 1000.0)):
        pump(cuff)
        cuff.advance(begin + 12.0)
    assert late.now_s == 1012.0
    assert early.cuff_mmhg == late.cuff_mmhg > 150.0
