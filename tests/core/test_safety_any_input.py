"""Whatever comes in: no exception, no pump past a limit, a trip vents in its own call, never more than was asked."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import safety
from controller.core.limits import DEFAULT_LIMITS
from controller.core.model import (
    VENTED,
    ChannelStatus,
    CuffDemand,
    CuffOutputs,
    CuffWatch,
    Demand,
    Drive,
    GuardState,
    GuardStatus,
    Inputs,
    Limb,
    Phase,
    Sample,
    Watch,
)

CEILING = DEFAULT_LIMITS.ceiling_mmhg
any_float = st.floats(allow_nan=True, allow_infinity=True)
likely_mmhg = st.one_of(st.floats(-25.0, 350.0), st.sampled_from([nan, 0.0, 15.0, 150.0, 250.0]), any_float)
phases = st.sampled_from(list(Phase))
booleans = st.booleans()
demands = st.builds(CuffDemand, any_float, booleans, booleans, st.sampled_from(Drive))
outputs = st.builds(CuffOutputs, st.floats(0.0, 1.0), booleans, booleans, booleans)
uses = st.one_of(
    st.none(),
    st.builds(
        CuffWatch, st.sampled_from(list(Limb)), likely_mmhg, likely_mmhg, any_float, any_float, any_float, any_float
    ),
    st.just(CuffWatch(Limb.LEG, 187.0, 150.0, 0.0, 1200.0, 0.0, 480.0)),
)
gaps = st.one_of(st.just(0.01), st.floats(0.0, 0.3), any_float)


@st.composite
def a_tick(draw: Any, cuffs: int) -> tuple[float, Any]:
    """The gap before it, and what makes the rest once the time is known."""
    fault = st.sampled_from(["", "", "", "bus error"])
    samples = draw(
        st.lists(
            st.lists(st.tuples(st.floats(-0.02, 0.02), likely_mmhg, st.integers(0, 3), fault), max_size=3),
            min_size=cuffs,
            max_size=cuffs,
        )
    )
    channels = st.lists(st.builds(ChannelStatus, likely_mmhg, any_float, booleans, booleans, booleans), max_size=2)
    statuses = draw(
        st.lists(
            st.tuples(st.floats(-0.02, 0.02), st.integers(0, 1), st.sampled_from(GuardState), booleans, channels),
            max_size=2,
        )
    )
    watch = draw(
        st.tuples(phases, st.lists(uses, max_size=2), st.integers(-1, 3), any_float, any_float, any_float, booleans)
    )
    asked = draw(st.lists(demands, max_size=2))
    link_fault = draw(fault)

    def at(now_s: float) -> tuple[Inputs, Watch, Demand]:
        return (
            Inputs(
                tuple(tuple(Sample(now_s + off, mmhg, n, why) for off, mmhg, n, why in one) for one in samples),
                tuple(
                    GuardStatus(now_s + off, boot, 0, 0, state, "", 0, ok, tuple(each))
                    for off, boot, state, ok, each in statuses
                ),
                link_fault=link_fault,
            ),
            Watch(watch[0], 0.0, tuple(watch[1]), *watch[2:]),
            Demand(tuple(asked)),
        )

    return draw(gaps), at


def at_or_above_ceiling(inputs: Inputs, cuff: int) -> bool:
    readings = [one.pressure_mmhg for one in inputs.samples[cuff] if not one.fault]
    readings += [one.channels[cuff].b_mmhg for one in inputs.statuses if cuff < len(one.channels)]
    return any(mmhg >= CEILING for mmhg in readings)


def holds(verdict: safety.Verdict, inputs: Inputs, watch: Watch, demand: Demand, tripped: bool) -> None:
    for cuff, out in enumerate(verdict.outputs):
        asked = demand.cuffs[cuff] if cuff < len(demand.cuffs) else CuffDemand(0.0, True, True)
        assert isfinite(out.pump_duty)
        assert 0.0 <= out.pump_duty <= 1.0
        assert out.pump_duty <= max(0.0, asked.pump_duty) or out.pump_duty == 0.0
        assert out.vent_open or not asked.vent_open
        assert out.dump_open or not asked.dump_open
        if out.pump_enabled != (out.pump_duty > 0.0):
            assert watch.phase is Phase.TESTING
            assert asked.drive is (Drive.ENABLE_ALONE if out.pump_enabled else Drive.PWM_ALONE)
        if verdict.trips or verdict.ends or tripped or watch.phase not in safety.MAY_INFLATE:
            assert out == VENTED
        if cuff >= len(watch.cuffs) or watch.cuffs[cuff] is None:
            assert out == VENTED
        if out.pump_enabled or out.pump_duty > 0.0:
            assert (out.vent_open, out.dump_open) == (False, False)
            assert not at_or_above_ceiling(inputs, cuff)
            assert verdict.state.sight.cuffs[cuff].a_mmhg < CEILING


@settings(max_examples=150)
@given(st.data(), st.sampled_from([1, 2]))
def test_any_ticks_in_a_row(data: st.DataObject, cuffs: int) -> None:
    state = safety.initial(cuffs, 0.0)
    given_outputs: tuple[CuffOutputs, ...] = (VENTED,) * cuffs
    now_s = 0.0
    for gap_s, at in data.draw(st.lists(a_tick(cuffs), min_size=1, max_size=6)):
        now_s += gap_s
        inputs, watch, demand = at(now_s)
        tripped = state.tripped and (watch.phase is Phase.FAULT or not state.in_fault)
        seeing, seen = safety.observe(state, inputs, given_outputs, DEFAULT_LIMITS, now_s)
        verdict = safety.supervise(seeing, demand, watch, seen, inputs, given_outputs, DEFAULT_LIMITS, now_s)
        holds(verdict, inputs, watch, demand, tripped)
        state, given_outputs = verdict.state, verdict.outputs


@settings(max_examples=300)
@given(
    st.lists(demands, min_size=1, max_size=1),
    likely_mmhg,
    likely_mmhg,
    outputs,
    uses,
    any_float,
    st.sampled_from([Phase.WORKING, Phase.TESTING]),
)
def test_any_reading_in_the_midst_of_a_set(
    asked: list[CuffDemand], a: float, b: float, last: CuffOutputs, use: CuffWatch | None, cue_at_s: float, phase: Phase
) -> None:
    """A healthy bench at target, then one tick of anything: here most runs do pump, so the limits are what stops it."""
    state = safety.initial(1, 0.0)
    closed = (CuffOutputs(0.0, False, False, False),)
    healthy = CuffWatch(Limb.LEG, 187.0, 150.0, 0.0, 1200.0, 0.0, 480.0)
    for n in range(1, 4):
        now_s = n / 100
        inputs = inputs_at(now_s, 150.0, 150.0, n)
        state, seen = safety.observe(state, inputs, closed, DEFAULT_LIMITS, now_s)
        watch = Watch(phase, 0.0, (healthy,), 0)
        demand = Demand((CuffDemand(0.5, False, False),))
        verdict = safety.supervise(state, demand, watch, seen, inputs, closed, DEFAULT_LIMITS, now_s)
        assert verdict.outputs[0].pump_enabled
        state = verdict.state
    now_s = 0.04
    inputs = inputs_at(now_s, a, b, 9)
    state, seen = safety.observe(state, inputs, (last,), DEFAULT_LIMITS, now_s)
    watch = Watch(phase, 0.0, (use,), 0, cue_at_s)
    demand = Demand(tuple(asked))
    verdict = safety.supervise(state, demand, watch, seen, inputs, (last,), DEFAULT_LIMITS, now_s)
    holds(verdict, inputs, watch, demand, False)


def inputs_at(now_s: float, a: float, b: float, counts: int) -> Inputs:
    channel = ChannelStatus(b, 0.0, False, False, False)
    status = GuardStatus(now_s, 7, 7, 0, GuardState.ARMED, "", 255, True, (channel,))
    return Inputs(((Sample(now_s, a, counts),),), (status,))
