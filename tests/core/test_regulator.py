"""The regulator: what it must never do, and its law piece by piece. The figures are in `test_regulator_plants.py`."""

from __future__ import annotations

from dataclasses import asdict
from math import inf, isnan, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from controller.core.model import DEMAND_VENT, VENT, Ask, AskKind, CuffDemand, Seen
from controller.core.regulator import (
    BINS_AT_MOST,
    REACHED_MMHG,
    RegulatorSettings,
    RegulatorState,
    initial,
    reached,
    regulate,
)
from regulator_rig import OFF, SETTINGS, TICK_S, Rig

TARGET = 150.0
INFLATE = Ask(AskKind.INFLATE, TARGET)
HOLD = Ask(AskKind.HOLD, TARGET)
CLOSED = CuffDemand(0.0, False, False)


def sight(a: float, b: float, now_s: float) -> Seen:
    return Seen(a, now_s - TICK_S, b, now_s, b if not a > b else a, a == a and b == b, False)


def work(at_s: float, period_s: float = 4.0, target: float = TARGET) -> Ask:
    return Ask(AskKind.WORK, target, int(at_s / period_s), at_s % period_s, period_s)


def settled(
    a: float = TARGET,
    b: float = TARGET,
    ask: Ask = HOLD,
    settings: RegulatorSettings = SETTINGS,
    state: RegulatorState | None = None,
    ticks: int = 30,
    from_s: float = 10.0,
) -> tuple[RegulatorState, CuffDemand]:
    """A cuff that has stood at these readings for a while."""
    state, demand = initial(settings) if state is None else state, CLOSED
    for tick in range(ticks):
        now_s = from_s + tick * TICK_S
        state, demand = regulate(state, ask, sight(a, b, now_s), now_s, settings)
    return state, demand


# --- what it must never do ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [nan, 0.0, 150.0, 400.0])
@pytest.mark.parametrize("settings", [SETTINGS, OFF], ids=["regulated", "unregulated"])
def test_a_vent_is_a_vent_whatever_is_seen_or_was(reading: float, settings: RegulatorSettings) -> None:
    for before in (initial(settings), settled(100.0, 100.0, INFLATE, settings)[0]):
        after, demand = regulate(before, VENT, sight(reading, reading, 20.0), 20.0, settings)
        assert demand == DEMAND_VENT
        assert not reached(after)
        assert regulate(after, VENT, sight(reading, reading, 20.01), 20.01, settings) == (after, DEMAND_VENT)


@pytest.mark.parametrize("ask", [INFLATE, HOLD, work(1.0)], ids=["inflate", "hold", "work"])
@pytest.mark.parametrize("before", [0.0, 100.0, 149.0, 200.0])
def test_with_nothing_known_it_neither_pumps_nor_vents(ask: Ask, before: float) -> None:
    fresh, demand = regulate(initial(SETTINGS), ask, sight(nan, nan, 1.0), 1.0, SETTINGS)
    assert demand == CLOSED
    assert isnan(fresh.limb_mmhg)
    state, _ = settled(before, before, ask)
    demands = []
    for tick in range(40):
        now_s = 10.3 + tick * TICK_S
        state, demand = regulate(state, ask, sight(nan, nan, now_s), now_s, SETTINGS)
        demands.append(demand)
    assert demands[20:] == [CLOSED] * 20  # two tenths of a second it goes by what it knew


@pytest.mark.parametrize("target", [nan, -1.0, 0.0])
@pytest.mark.parametrize("kind", [AskKind.INFLATE, AskKind.HOLD, AskKind.WORK])
def test_a_target_that_is_none_does_not_pump(kind: AskKind, target: float) -> None:
    _, demand = settled(5.0, 5.0, Ask(kind, target, 0, 1.0, 4.0))
    assert demand.pump_duty == 0.0


@pytest.mark.parametrize("kind", [AskKind.INFLATE, AskKind.HOLD, AskKind.WORK])
@pytest.mark.parametrize("reading", [0.0, 80.0, 140.0, 149.5, 150.5, 158.0, 170.0, 220.0])
def test_it_never_pumps_and_vents_at_once_nor_touches_the_dump(kind: AskKind, reading: float) -> None:
    random = Random(f"{kind}/{reading}")
    state = initial(SETTINGS)
    for tick in range(400):
        now_s = tick * TICK_S
        a, b = (reading + random.gauss(0.0, 8.0) if random.random() < 0.9 else nan for _ in range(2))
        ask = Ask(kind, TARGET, tick // 100, (tick % 100) * TICK_S, 1.0)
        state, demand = regulate(state, ask, sight(a, b, now_s), now_s, SETTINGS)
        assert 0.0 <= demand.pump_duty <= 1.0
        assert not (demand.pump_duty > 0.0 and demand.vent_open)
        assert not demand.dump_open


ANY = st.floats(allow_nan=True, allow_infinity=True)
SENSIBLE = st.one_of(st.floats(-50.0, 400.0), ANY)
SECONDS = st.one_of(st.floats(0.0, 30.0), ANY)
KINDS = st.sampled_from([AskKind.INFLATE, AskKind.HOLD, AskKind.WORK, AskKind.VENT])
TICKS = st.lists(
    st.tuples(SECONDS, KINDS, SENSIBLE, st.integers(-2, 40), SECONDS, SECONDS, SENSIBLE, SECONDS, SENSIBLE, SECONDS),
    max_size=12,
)


@given(TICKS)
@examples(max_examples=300)
def test_it_is_total(ticks: list[tuple[Any, ...]]) -> None:
    state = initial(SETTINGS)
    for now_s, kind, target, repetition, repetition_s, period_s, a, a_at_s, b, b_at_s in ticks:
        ask = Ask(kind, target, repetition, repetition_s, period_s)
        seen = Seen(a, a_at_s, b, b_at_s, a, False, False)
        state, demand = regulate(state, ask, seen, now_s, SETTINGS)
        assert 0.0 <= demand.pump_duty <= 1.0
        assert demand.pump_duty == 0.0 or not (demand.vent_open or demand.dump_open)
        assert demand.vent_open or kind is not AskKind.VENT


def test_the_state_handed_in_is_never_changed() -> None:
    rig = Rig(seed=1)
    rig.inflate()
    rig.limb.begin_set(rig.now_s, 1.0, 0.0, 1.0, 4)
    for tick in range(800):
        before = rig.state
        told = asdict(before)
        rig.tick(work(tick * TICK_S, 2.0))
        assert asdict(before) == told


def test_same_inputs_same_wishes() -> None:
    assert [Rig(seed=3).inflate() for _ in range(2)] == [Rig(seed=3).inflate()] * 2


@pytest.mark.parametrize("jump_s", [-5.0, 0.0, 0.5, 100.0])
def test_a_tick_of_no_or_too_much_time_moves_no_air_in_the_books(jump_s: float) -> None:
    state, _ = settled(100.0, 100.0, INFLATE)
    now_s = 10.29 + jump_s
    after, _ = regulate(state, INFLATE, sight(100.0, 100.0, now_s), now_s, SETTINGS)
    assert after.moved_mmhg == state.moved_mmhg


# --- which sensor it believes ------------------------------------------------------------------------------------


def test_at_rest_it_goes_by_the_manifold() -> None:
    still, _ = settled()
    assert settled(142.0, 150.0, state=still, from_s=10.3, ticks=1)[1].pump_duty > 0.0
    assert settled(150.0, 142.0, state=still, from_s=10.3, ticks=1)[1] == CLOSED


@pytest.mark.parametrize(("a_mmhg", "b_mmhg"), [(130.0, 150.0), (150.0, 130.0), (140.0, 150.0)])
def test_sensors_apart_at_rest_are_left_alone_so_that_the_rule_can_see_them(a_mmhg: float, b_mmhg: float) -> None:
    """Pulses of air would hide `sensors_disagree`, which looks only where no air flows."""
    still, _ = settled()
    assert settled(a_mmhg, b_mmhg, state=still, from_s=10.3, ticks=1)[1] == CLOSED


def test_while_the_pump_runs_it_goes_by_b() -> None:
    state, demand = settled(100.0, 100.0, INFLATE)
    assert demand.pump_duty == 1.0
    for tick in range(20):
        now_s = 10.3 + tick * TICK_S
        state, demand = regulate(state, INFLATE, sight(160.0, 100.0, now_s), now_s, SETTINGS)
    assert demand.pump_duty == 1.0


@pytest.mark.parametrize("b_age_s", [0.0, 0.2])
def test_without_b_it_goes_by_the_manifold_while_the_pump_runs(b_age_s: float) -> None:
    """No news of B, or news that is too old."""
    state, _ = settled(100.0, 100.0, INFLATE)
    for tick in range(30):
        now_s = 10.3 + b_age_s + tick * TICK_S
        b_mmhg = nan if b_age_s == 0.0 else 100.0
        seen = Seen(160.0, now_s - TICK_S, b_mmhg, 10.29, 160.0, False, False)
        state, demand = regulate(state, INFLATE, seen, now_s, SETTINGS)
    assert demand.pump_duty == 0.0


def test_without_b_the_manifold_is_no_measure_of_a_cuff_that_is_bled() -> None:
    state, demand = settled(170.0, 170.0)
    assert demand.vent_open
    known = state.limb_mmhg
    for tick in range(8):
        now_s = 10.3 + tick * TICK_S
        state, demand = regulate(state, HOLD, sight(90.0, nan, now_s), now_s, SETTINGS)
    assert state.limb_mmhg == known


def test_a_reading_that_is_no_news_changes_nothing() -> None:
    state, _ = settled(149.0, 149.0)
    seen = Seen(149.0, state.limb_at_s, 149.0, state.limb_at_s, 149.0, True, False)
    after, _ = regulate(state, HOLD, seen, state.at_s + TICK_S, SETTINGS)
    assert (after.limb_mmhg, after.slope_mmhg_s) == (state.limb_mmhg, state.slope_mmhg_s)


def test_a_gap_in_the_readings_is_no_slope() -> None:
    state, _ = settled(149.0, 149.0)
    after, _ = regulate(state, HOLD, sight(140.0, 140.0, 11.0), 11.0, SETTINGS)
    assert after.slope_mmhg_s == state.slope_mmhg_s
    assert after.limb_mmhg == pytest.approx(140.0 - after.moved_mmhg)


def test_an_old_reading_is_met_with_the_air_moved_since() -> None:
    """It pumps, but a reading from before the pump began says nothing about the pump."""
    state, _ = settled(148.0, 148.0)
    assert state.duty > 0.0
    for tick in range(3):
        now_s = 10.3 + tick * TICK_S
        seen = Seen(nan, nan, 148.0, 10.29, 148.0, False, False)
        state, _ = regulate(state, HOLD, seen, now_s, SETTINGS)
    assert state.moved_mmhg > 0.0
    late = Seen(nan, nan, 148.0, 10.2, 148.0, False, False)
    before = state.limb_mmhg
    state, _ = regulate(state, HOLD, late, 10.33, SETTINGS)
    assert state.limb_mmhg == before


# --- at rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "pumps", "bleeds"),
    [
        (TARGET * (1.0 - SETTINGS.hold_low) - 0.01, True, False),
        (TARGET * (1.0 - SETTINGS.hold_low) + 0.01, False, False),
        (TARGET, False, False),
        (TARGET * (1.0 + SETTINGS.hold_high) - 0.01, False, False),
        (TARGET * (1.0 + SETTINGS.hold_high) + 0.01, False, True),
    ],
)
def test_a_hold_acts_at_the_ends_of_its_band(reading: float, pumps: bool, bleeds: bool) -> None:
    _, demand = settled(reading, reading, ticks=1)
    assert (demand.pump_duty > 0.0, demand.vent_open) == (pumps, bleeds)


@pytest.mark.parametrize(("reading", "goes_on"), [(148.5, True), (149.5, True), (149.75, False), (151.0, False)])
def test_a_top_up_goes_on_to_the_target_and_ends_there(reading: float, goes_on: bool) -> None:
    state, demand = settled(147.0, 147.0, ticks=2)
    assert demand.pump_duty > 0.0
    state.speed = 0.0
    later = settled(reading, reading, state=state, ticks=1, from_s=11.0)  # after a gap: no slope, no air in the books
    assert (later[1].pump_duty > 0.0) is goes_on
    assert settled(149.0, 149.0, state=later[0], ticks=1, from_s=12.0)[1].pump_duty > 0.0 or not goes_on


def test_bleeding_goes_on_to_the_lower_mark() -> None:
    state, demand = settled(155.0, 155.0, ticks=1)
    assert demand.vent_open
    for tick, (reading, goes_on) in enumerate([(152.0, True), (151.4, False), (154.0, False)]):
        now_s = 11.0 + tick
        state, demand = regulate(state, HOLD, sight(reading, reading, now_s), now_s, SETTINGS)
        assert demand.vent_open is goes_on


def test_a_pump_with_a_wider_dead_band_is_pushed_until_it_moves() -> None:
    rig = Rig(0, pump_dead_band=0.35)
    rig.inflate()
    for _ in range(round(60.0 / TICK_S)):
        rig.tick(HOLD)
        assert rig.cuff.cuff_mmhg > 0.98 * TARGET or rig.now_s < 15.0
    assert rig.cuff.cuff_mmhg > 147.0


def test_reached_within_two_mmhg_and_until_the_target_changes() -> None:
    assert not reached(settled(TARGET - REACHED_MMHG - 0.01, TARGET - REACHED_MMHG - 0.01, INFLATE)[0])
    state, _ = settled(TARGET - REACHED_MMHG, TARGET - REACHED_MMHG, INFLATE)
    assert reached(state)
    assert reached(settled(140.0, 140.0, HOLD, state=state, from_s=10.3)[0])
    assert not reached(settled(140.0, 140.0, Ask(AskKind.INFLATE, 160.0), state=state, from_s=10.3)[0])


@pytest.mark.parametrize(("target", "above"), [(60.0, 2.0), (150.0, 4.5), (220.0, 6.6)])
def test_reached_as_far_above_as_a_hold_is_left(target: float, above: float) -> None:
    """A `lower` in the last mmHg of an inflation leaves the cuff there, and nothing would ever bring it closer."""
    inflate = Ask(AskKind.INFLATE, target)
    for over, there in [(above - 0.01, True), (above + 0.01, False)]:
        state, demand = settled(target + over, target + over, inflate)
        assert reached(state) is there
        assert demand.pump_duty == 0.0


def test_a_lowered_target_is_bled_down_to() -> None:
    state, demand = settled()
    assert demand == CLOSED
    for settings in (SETTINGS, OFF):
        assert settled(ask=Ask(AskKind.HOLD, 140.0), state=state, settings=settings, from_s=10.3)[1].vent_open


def test_unregulated_it_closes_and_leaves_the_cuff_alone() -> None:
    state, _ = settled(149.9, 149.9, INFLATE, OFF)
    for reading in (100.0, 149.0, 200.0):
        for ask in (INFLATE, HOLD, work(1.0)):
            assert settled(reading, reading, ask, OFF, state, from_s=10.3)[1] == CLOSED
    vented, _ = regulate(state, VENT, sight(0.0, 0.0, 12.0), 12.0, OFF)
    assert settled(0.0, 0.0, INFLATE, OFF, vented, from_s=13.0)[1].pump_duty == 1.0


# --- what it learns ----------------------------------------------------------------------------------------------


def test_a_release_keeps_what_was_learned_and_nothing_else() -> None:
    rig = Rig(seed=2)
    rig.inflate()
    rig.limb.begin_set(rig.now_s, 1.0, 0.0, 1.0, 3)
    for tick in range(600):
        rig.tick(work(tick * TICK_S, 2.0))
    state = rig.state
    fresh, _ = regulate(state, VENT, sight(150.0, 150.0, rig.now_s), rig.now_s, SETTINGS)
    kept = ("pump_rate_mmhg_s", "period_s", "bins", "taught")
    expected = initial(SETTINGS)
    for name in kept:
        assert getattr(fresh, name) == getattr(state, name) != getattr(expected, name)
        setattr(expected, name, getattr(state, name))
    assert str(fresh) == str(expected)  # NaN equals itself in writing


def test_pump_rate_is_learned_in_the_inflation() -> None:
    for pump_l_min in (1.5, 4.0):
        rig = Rig(seed=0, pump_l_min=pump_l_min)
        rig.inflate()
        flow_ml_s = pump_l_min * 1000.0 / 60.0 * (1.0 - 145.0 / 450.0)
        capacity_ml_per_mmhg = (400.0 + 0.4 * 145.0 + 0.4 * 905.0) / 760.0
        assert rig.state.pump_rate_mmhg_s == pytest.approx(flow_ml_s / capacity_ml_per_mmhg, rel=0.15)


def test_a_repetition_is_kept_in_pieces_and_trusted_by_share() -> None:
    """A limb that swings by itself, with everything shut: the first is kept whole, the next by its share."""
    state = initial(SETTINGS)
    quiet = RegulatorSettings(work_low=0.9, work_fill=-0.9, work_high=9.0, work_shut=8.0, work_never=9.0)
    taught = []
    for tick in range(802):
        at_s = tick * TICK_S
        size = 10.0 if tick < 400 else 20.0
        phase = at_s % 4.0
        reading = TARGET + (size * phase if phase < 1.0 else size if phase < 2.0 else max(0.0, size * (3.0 - phase)))
        state, demand = regulate(state, work(at_s), sight(reading, nan, at_s), at_s, quiet)
        assert demand == CLOSED
        taught.append(state.taught)
        if tick == 401:
            first = state
    assert taught.index(True) == 400
    assert len(state.bins) == 80
    for kept, size in ((first.bins, 10.0), (state.bins, 10.0 + quiet.trust * 10.0)):
        assert sum(kept[2:22]) == pytest.approx(0.9 * size, abs=0.6)  # before the first reading it knows nothing
        assert kept[30] == pytest.approx(0.0, abs=0.01)
        assert sum(kept[38:62]) == pytest.approx(-size, abs=0.2)


def test_what_lies_ahead_is_seen_before_it_comes() -> None:
    """A fall of 40 mmHg from 2.0 s on: the pump begins before, and stops at the fill mark."""
    state, _ = settled()
    state.period_s, state.taught = 4.0, True
    state.bins = [0.0] * 40 + [-2.0] * 20 + [0.0] * 20
    began_s = None
    for tick in range(200):
        now_s = 10.3 + tick * TICK_S
        state, demand = regulate(state, work(tick * TICK_S), sight(TARGET, TARGET, now_s), now_s, SETTINGS)
        if demand.pump_duty > 0.0 and began_s is None:
            began_s = tick * TICK_S
    assert began_s is not None
    assert 0.4 < began_s < 1.9
    high = TARGET * (1.0 + SETTINGS.work_fill) + 1.0
    state, demand = settled(high, high, work(0.5), state=state, from_s=12.3)
    assert demand == CLOSED


def test_a_rise_that_lies_ahead_is_bled_for_but_not_below_the_band() -> None:
    state, _ = settled()
    state.period_s, state.taught = 4.0, True
    state.bins = [0.0] * 10 + [6.0] * 10 + [0.0] * 40 + [-3.0] * 20
    bleeds = {}
    for reading in (TARGET, TARGET * (1.0 - SETTINGS.work_fill) - 1.0):
        slow_vent = RegulatorSettings(vent_rate_1_s=0.3)
        trial = settled(reading, reading, work(0.3), slow_vent, state, ticks=1, from_s=10.3)
        bleeds[reading] = trial[1].vent_open
    assert list(bleeds.values()) == [True, False]


def test_far_above_it_bleeds_whatever_is_expected() -> None:
    state, _ = settled()
    state.period_s, state.taught = 4.0, True
    state.bins = [-3.0] * 80
    never = TARGET * (1.0 + SETTINGS.work_never)
    for reading, bleeds in ((TARGET * 1.10, False), (never - 0.1, False), (never + 0.1, True)):
        assert settled(reading, reading, work(0.3), state=state, from_s=10.3, ticks=1)[1].vent_open is bleeds


def test_untaught_it_goes_by_the_slope() -> None:
    state = initial(SETTINGS)
    for tick in range(30):
        now_s = 10.0 + tick * TICK_S
        reading = TARGET + 0.9 * tick * 0.3
        state, _ = regulate(state, work(tick * TICK_S), sight(reading, nan, now_s), now_s, SETTINGS)
    assert reading < TARGET * (1.0 + SETTINGS.work_high)
    assert not state.taught
    assert settled(TARGET * 0.97, TARGET * 0.97, work(1.0), ticks=3)[1].pump_duty > 0.0


@pytest.mark.parametrize(
    "ask",
    [
        Ask(AskKind.WORK, TARGET, -1, 0.0, 0.0),
        Ask(AskKind.WORK, TARGET, -1, 1.0, 4.0),
        Ask(AskKind.WORK, TARGET, 0, 1.0, nan),
    ],
    ids=["no tempo", "before the first", "no period"],
)
def test_exercise_without_a_tempo_is_regulated_by_what_is_seen(ask: Ask) -> None:
    state, demand = settled(TARGET * 0.95, TARGET * 0.95, ask)
    assert demand.pump_duty > 0.0
    assert not state.taught
    assert settled(TARGET * 1.1, TARGET * 1.1, ask)[1].vent_open


@pytest.mark.parametrize(("period_s", "pieces"), [(0.02, 1), (2.0, 40), (4.0, 80), (10.0, BINS_AT_MOST)])
def test_another_tempo_is_learned_anew(period_s: float, pieces: int) -> None:
    state, _ = settled(ask=work(1.0, 3.0))
    state.taught = True
    state, _ = settled(ask=work(1.0, period_s), state=state, ticks=1, from_s=10.3)
    assert len(state.bins) == pieces
    assert not state.taught


def test_a_piece_in_which_nothing_was_known_teaches_nothing() -> None:
    state, _ = settled(ask=work(1.0))
    kept = state.bins
    state.limb_mmhg = nan
    after, _ = regulate(state, work(1.06), sight(nan, nan, 10.31), 10.31, SETTINGS)
    assert after.bin == state.bin + 1
    assert after.bins is kept


@pytest.mark.parametrize("at_s", [-0.3, 0.05, 1e9, nan, inf])
def test_a_reading_of_no_time_that_could_be_is_none(at_s: float) -> None:
    """Too old, from the future, or of no time at all."""
    state, _ = settled(149.0, 149.0)
    now_s = state.at_s + TICK_S
    when_s = now_s + at_s if at_s < 1.0 else at_s
    after, _ = regulate(state, HOLD, Seen(100.0, when_s, nan, nan, 100.0, False, False), now_s, SETTINGS)
    assert after.limb_mmhg == state.limb_mmhg
    assert reached(after) is reached(state)


def test_a_repetition_that_overruns_its_period_stays_in_its_last_piece() -> None:
    ask = Ask(AskKind.WORK, TARGET, 0, 4.7, 4.0)
    assert settled(ask=ask)[0].bin == 79
