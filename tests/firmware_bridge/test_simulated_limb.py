"""The simulated limb: contractions with the tempo, a person's imprecision, arterial pulses."""

from __future__ import annotations

from itertools import pairwise

import pytest

from firmware_bridge.simulated.limb import PULSE_ML, SimulatedLimb
from firmware_bridge.simulated.plant import plant_settings

STEP_S = 0.005
NO_PULSE_MMHG = 0.0


def volumes(limb: SimulatedLimb, begin_s: float, seconds: float, pressure_mmhg: float = NO_PULSE_MMHG) -> list[float]:
    return [limb.volume_ml(begin_s + step * STEP_S, pressure_mmhg) for step in range(round(seconds / STEP_S))]


def a_limb(seed: int = 0, **keys: float) -> SimulatedLimb:
    return SimulatedLimb(plant_settings(keys), seed)


def test_still_limb_takes_nothing() -> None:
    assert set(volumes(a_limb(), 0.0, 10.0)) == {0.0}


def test_arterial_pulses_vanish_above_occlusion() -> None:
    limb = SimulatedLimb(plant_settings({}), 0, lop_mmhg=200.0)
    size = {mmhg: max(volumes(limb, mmhg, 3.0, mmhg)) for mmhg in (20.0, 115.0, 190.0, 240.0)}
    assert size[115.0] == pytest.approx(PULSE_ML, rel=0.01)
    assert 0.0 < size[20.0] < size[115.0]
    assert 0.0 < size[190.0] < size[115.0]
    assert size[240.0] == 0.0


def test_swing_is_centred_on_where_the_cuff_was_closed() -> None:
    limb = a_limb(swing_ml=40.0)
    limb.begin_set(1.0, 2.0, 0.0, 2.0, 20)
    seen = volumes(limb, 0.0, 85.0)
    assert seen[0] == 0.0
    assert 17.0 < max(seen) < 24.0
    assert -24.0 < min(seen) < -17.0
    middle = seen[round(10 / STEP_S) : round(50 / STEP_S)]
    assert abs(sum(middle) / len(middle)) < 4.0
    assert seen[-1] == 0.0  # the last repetition ends where the first began


def test_contraction_rises_fast_stands_and_falls_in_the_eccentric_part() -> None:
    limb = a_limb(swing_ml=40.0, rise_fraction=0.15)
    limb.begin_set(0.0, 2.0, 1.0, 2.0, 3)
    seen = volumes(limb, 0.0, 5.0)
    top = max(seen)
    rising = [index * STEP_S for index, ml in enumerate(seen) if ml < top and index * STEP_S < 2.0]
    assert rising[-1] < 0.15 * 5.0 * 1.2 + 0.3  # the rise and the reaction to the cue
    assert all(ml == top for ml in seen[round(1.3 / STEP_S) : round(3.0 / STEP_S)])  # concentric part and pause
    assert seen[round(4.9 / STEP_S)] < -15.0


def test_a_set_that_is_broken_off_relaxes() -> None:
    limb = a_limb()
    limb.begin_set(0.0, 2.0, 0.0, 2.0, 15)
    up = limb.volume_ml(1.5, NO_PULSE_MMHG)
    assert up > 15.0
    limb.end_set(1.6)
    seen = volumes(limb, 1.6, 20.0)
    assert seen[0] == pytest.approx(up)
    assert max(abs(later - earlier) for earlier, later in pairwise(seen)) < 0.6  # no jump
    assert set(seen[round(1.0 / STEP_S) + 1 :]) == {0.0}


def test_a_set_of_no_more_repetitions_than_asked() -> None:
    limb = a_limb()
    limb.begin_set(0.0, 2.0, 0.0, 2.0, 3)
    assert set(volumes(limb, 0.0, 30.0)[round(12.5 / STEP_S) :]) == {0.0}


def test_nobody_keeps_a_tempo_exactly_but_nobody_is_lost_either() -> None:
    limb = a_limb(seed=5, swing_ml=40.0)
    limb.begin_set(0.0, 2.0, 0.0, 2.0, 30)
    seen = volumes(limb, 0.0, 120.0)
    per = round(4.0 / STEP_S)
    tops = [max(seen[index : index + per]) for index in range(0, len(seen), per)]
    begins = [next(i for i in range(per) if seen[at + i] > seen[at] + 0.5) for at in range(0, len(seen), per)]
    assert len(set(tops)) == 30
    assert all(0.8 * 20.0 <= top <= 1.2 * 20.0 for top in tops)
    assert max(begins) * STEP_S < 0.45
    assert len(set(begins)) > 5


def test_same_seed_same_person() -> None:
    def person(seed: int) -> list[float]:
        limb = a_limb(seed)
        limb.begin_set(0.0, 2.0, 0.0, 2.0, 5)
        return volumes(limb, 0.0, 20.0, 150.0)

    assert person(1) == person(1)
    assert person(1) != person(2)


def test_a_fast_tempo_keeps_its_order() -> None:
    limb = a_limb(rise_fraction=0.5)
    limb.begin_set(0.0, 0.5, 0.0, 0.5, 10)
    seen = volumes(limb, 0.0, 30.0)
    assert max(abs(later - earlier) for earlier, later in pairwise(seen)) < 3.0
    assert seen[-1] == 0.0
