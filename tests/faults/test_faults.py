"""Every fault of `--list-faults`, in every phase in which there may be pressure, in virtual time, on the real app.

Judged by the plant: the invariants of the design hold, nothing trips before the fault, and what should answer does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.core.limits import EMPTY_MMHG, armed_ceiling_mmhg
from controller.core.model import Phase
from controller.prescription.protocol import load_protocol
from controller.scenario.faults import FAULTS, Planned, possible
from controller.scenario.run import Scenario, run_lived
from controller.settings import SensorKind
from watched import Watched

LOP_MMHG = 187.0
INTO = {  # seconds into the phase, so that the fault meets it at work
    Phase.INFLATING: 3.0,
    Phase.HOLDING: 1.0,
    Phase.WORKING: 2.0,
    Phase.RELEASING: 0.3,
    Phase.STOPPING: 0.05,
}
NEEDS_NO_TRIP = {  # borne, or answered by a refusal or an orderly end
    "guard_clock_fast",
    "dump_stuck_closed",
    "vent_stuck_closed",  # the dump empties; a valve is proven alone by the self-test of a real bench
    "pump_pwm_stuck",
    "pump_enable_stuck",  # the self-test's too
    "tube_seeps",  # the regulator keeps up with it; the self-test's too
    "sensors_exchanged",  # with one cuff there is nothing to exchange
    "tube_leaks",
    "operator_away",
    "operator_starts_twice",
    "operator_stops",
    "operator_pauses",
    "operator_lowers",
    "limb_spasm",
    "journal_full",
    "broker_gone",
}
CANNOT_EMPTY = {"tube_kinked", "pump_stuck_on", "pump_stuck_vent_stuck", "pump_stuck_dump_stuck"}  # by no valve of ours
DEAD_HOST = {"control_stalls"}  # here the guard is alone: 300 ms of the last lease
SHORT = load_protocol(Path(__file__).with_name("short.toml"))


def live(name: str, phase: Phase, lop_mmhg: float = LOP_MMHG, after_s: float = -1.0) -> tuple[dict[str, Any], Watched]:
    """The short session with this fault in this phase."""
    faults = [Planned(FAULTS[name], phase=phase, after_s=INTO[phase] if after_s < 0.0 else after_s)]
    if phase is Phase.STOPPING:
        faults.append(Planned(FAULTS["operator_stops"], phase=Phase.WORKING, after_s=2.0))
    watched = Watched(armed_ceiling_mmhg(lop_mmhg) + 10.0)
    sensor: SensorKind = "abp2" if possible(FAULTS[name], "abp2") else "mpx5050"
    scenario = Scenario(
        SHORT, lop_mmhg=lop_mmhg, percent_lop=80.0, seed=7, faults=tuple(faults), sensor=sensor
    )  # fmt: skip
    result = run_lived(scenario, watched.look)
    watched.fault_at_s = watched.lived[0].schedule.began_s.get(name)
    return result, watched


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    return run_lived(Scenario(SHORT, lop_mmhg=LOP_MMHG, percent_lop=80.0, seed=7), lambda _lived: None)


def test_undisturbed_session_completes_without_a_word(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["outcome"] == "completed"
    assert undisturbed["trips"] == []
    assert undisturbed["alarms"] == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", INTO, ids=str)
@pytest.mark.parametrize("name", FAULTS)
def test_fault_keeps_the_invariants(name: str, phase: Phase) -> None:
    result, watched = live(name, phase)
    replay = (
        f"manchet simulate tests/faults/short.toml --percent-lop 80 --seed 7 --fault {name}@{phase}+{INTO[phase]:g}"
    )
    assert watched.fault_at_s is not None, f"the fault never began: {replay}"
    began_s = watched.lived[0].measure.began_s
    for trip in result["trips"]:
        assert began_s + trip["at_s"] >= watched.fault_at_s - 1e-6, f"tripped before the fault: {replay}"
        if name in DEAD_HOST:
            assert trip["vent_commanded_after_s"] is not None, replay
            assert trip["vent_commanded_after_s"] <= 0.30, replay
        else:
            assert trip["vent_commanded_after_s"] == 0.0, f"not vented in the tick of the trip: {replay}"
    assert watched.above_ceiling_s <= 0.5, (
        f"above {watched.ceiling_mmhg:g} mmHg for {watched.above_ceiling_s:.2f} s: {replay}"
    )
    assert not watched.pumped_after, f"pumped after a stop or a trip: {replay}"
    assert not watched.closed_after, f"a valve closed after a stop or a trip: {replay}"
    assert not watched.clock_went_back, f"the limb's clock lost time: {replay}"
    if name not in CANNOT_EMPTY:
        assert result["final_true_mmhg"] < EMPTY_MMHG, f"not empty at the end: {replay}"
    for trip in result["trips"]:
        guards = trip["rule"] in ("guard_tripped", "lease_expired")
        named = f"guard: {trip['text'].partition('vented: ')[2]}" if guards else trip["rule"]
        assert named in FAULTS[name].answer, f"--list-faults names another answer: {replay}"
    if phase in (Phase.INFLATING, Phase.HOLDING) and name not in NEEDS_NO_TRIP:
        assert result["outcome"] in ("tripped", "stopped"), f"went unnoticed: {replay}"


@pytest.mark.parametrize("phase", [Phase.HOLDING, Phase.WORKING, Phase.RELEASING], ids=str)
def test_closed_tube_is_called_within_a_second_of_the_vent(phase: Phase) -> None:
    """No valve of ours can vent a tube that is closed at the cuff: the alarm must say so, and the clock run on."""
    result, watched = live("tube_kinked", phase)
    assert result["outcome"] == "tripped"
    called = [alarm for alarm in result["alarms"] if alarm["condition"] in ("tube_blocked", "no_fall")]
    assert called, "nothing said: take the cuff off"
    state = watched.lived[0].control.state
    clock = state.session.clock_of(0)
    assert clock is not None
    trip = result["trips"][0]
    assert called[0]["raised_at_s"] - trip["at_s"] <= 1.0
    lived_since_s = state.now_s - watched.lived[0].measure.began_s - trip["at_s"]
    assert clock.restricted_s >= lived_since_s, "the limb's clock stopped while the pressure stayed"


@pytest.mark.parametrize("lop_mmhg", [80.0, 100.0, 270.0])
@pytest.mark.parametrize("name", ["b_stuck", "b_frozen", "b_reads_low", "a_reads_low", "pump_stuck_vent_stuck"])
def test_a_low_sensor_squeezes_nobody_at_any_lop(name: str, lop_mmhg: float) -> None:
    """The guard sees B alone and the host's own ceiling knows no LOP: what forbids the pump must know both."""
    for after_s in (7.0, 8.5):
        _, watched = live(name, Phase.INFLATING, lop_mmhg, after_s)
        assert watched.above_ceiling_s <= 0.5, f"{watched.above_ceiling_s:.2f} s above {watched.ceiling_mmhg:g} mmHg"


def test_host_that_stands_still_is_vented_by_the_guard_alone() -> None:
    result, _ = live("control_stalls", Phase.WORKING)
    assert result["outcome"] == "tripped"
    assert result["trips"][0]["rule"] == "lease_expired"
    assert result["trips"][0]["vent_commanded_after_s"] <= 0.30
    assert result["trips"][0]["below_15_after_s"] <= 5.0


def test_stop_and_everything_after_it_never_inflates() -> None:
    result, watched = live("operator_stops", Phase.WORKING)
    assert result["outcome"] == "stopped"
    assert not watched.pumped_after
    assert not watched.closed_after


def test_journal_full_and_broker_gone_cost_nothing_but_an_alarm(undisturbed: dict[str, Any]) -> None:
    for name, condition in (("journal_full", "journal_failed"), ("broker_gone", "broker_lost")):
        result, _ = live(name, Phase.INFLATING)
        assert result["outcome"] == "completed"
        assert [alarm["condition"] for alarm in result["alarms"]] == [condition]
        assert result["trace_sha256"] == undisturbed["trace_sha256"], "a tick went otherwise"


def test_same_seed_same_trace(undisturbed: dict[str, Any]) -> None:
    again = run_lived(Scenario(SHORT, lop_mmhg=LOP_MMHG, percent_lop=80.0, seed=7), lambda _lived: None)
    other = run_lived(Scenario(SHORT, lop_mmhg=LOP_MMHG, percent_lop=80.0, seed=8), lambda _lived: None)
    assert again["trace_sha256"] == undisturbed["trace_sha256"]
    assert other["trace_sha256"] != undisturbed["trace_sha256"]
