"""Every rule of a cuff at its boundary: just below, at, just above, in value and in time, with NaN and infinities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, inf, nan, nextafter
from typing import Any

import pytest

from controller.core import pressure_rules as pressure
from controller.core import trust_rules as trust
from controller.core.limits import Limits
from controller.core.model import CuffWatch, Phase
from controller.core.moment import Moment, Run, new_phase, on_limb_mmhg, run_clocks
from controller.core.seeing import CuffSight

MomentOf = Callable[..., Moment]
BELOW, ABOVE = -inf, inf


def beside(number: float, way: float) -> float:
    return nextafter(number, way)


# --- in time: what has added up, with the condition true -----------------------------------------------------------

OFF: dict[str, Any] = {"a": nan, "b": nan}
IN_TIME: list[tuple[Any, str, float, dict[str, Any]]] = [
    (pressure.above_lop, "lop_s", 1.0, {"a": 188.0, "b": 188.0}),
    (pressure.above_lop, "lop_s", 1.0, OFF),
    (pressure.above_lop, "lop_sum_s", 3.0, {"a": 188.0, "b": 188.0}),
    (pressure.above_target, "above_s", 2.0, {"a": 190.0, "b": 190.0}),
    (pressure.above_target, "above_s", 2.0, OFF),
    (pressure.under_target, "under_s", 10.0, {"a": 74.0, "b": 74.0}),
    (pressure.under_target, "under_s", 10.0, OFF),
    (pressure.off_target, "off_target_s", 1.5, {"a": 166.0, "b": 166.0}),
    (pressure.off_target, "off_target_s", 1.5, OFF),
    (pressure.inflate_timeout, "inflating_s", 30.0, {"phase": Phase.INFLATING, "a": 140.0, "b": 140.0}),
    (pressure.inflate_timeout, "inflating_s", 31.0, {"phase": Phase.INFLATING}),  # at its target: the other is named
    (pressure.leak, "topping_s", 7.0, {}),
    (pressure.pump_too_long, "pump_on_s", 40.0, {}),
    (trust.sensors_disagree, "apart_flow_s", 1.5, {"a": 160.0, "b": 100.0, "pumping": True}),
    (trust.sensors_disagree, "apart_flow_s", 1.5, {"a": 160.0, "b": nan, "pumping": True}),
    (trust.tube_blocked, "blocked_s", 0.5, {"a": 161.0, "b": 100.0, "pumping": True, "phase": Phase.INFLATING}),
    (trust.tube_blocked, "blocked_s", 1.0, {"a": 161.0, "b": 100.0, "pumping": True}),
    (trust.no_fall, "unfallen_s", 1.0, {"a": 21.0, "b": 21.0, "venting": True}),
    (trust.no_fall, "unfallen_s", 1.0, {**OFF, "venting": True}),
    (trust.not_released, "unreleased_s", 5.0, {"a": 15.0, "b": 15.0, "phase": Phase.RELEASING}),
    (trust.not_released, "unreleased_s", 5.0, {**OFF, "phase": Phase.RESTING, "release_due_at_s": 1.0}),
]


@pytest.mark.parametrize(("rule", "field", "limit", "there"), IN_TIME)
def test_in_time(rule: Any, field: str, limit: float, there: dict[str, Any], moment: MomentOf) -> None:
    for seconds, fires in [(beside(limit, BELOW), False), (limit, True), (beside(limit, ABOVE), True)]:
        run = Run()
        setattr(run, field, seconds)
        finding = rule(run, moment(**there))
        assert (finding is not None) is fires, (field, seconds)
        if finding is not None:
            assert finding.rule == rule.__name__
            assert finding.cuff == 0
            assert "cuff 1" in finding.text or "pump 1" in finding.text
            assert finding.at_s == 100.0


ADDED_UP_IN_CLOCKS = (pressure.leak, pressure.pump_too_long, trust.no_fall)


@pytest.mark.parametrize(
    ("rule", "field", "limit", "there"), [row for row in IN_TIME if row[0] not in ADDED_UP_IN_CLOCKS]
)
def test_time_adds_up_while_the_condition_is_true(
    rule: Any, field: str, limit: float, there: dict[str, Any], moment: MomentOf
) -> None:
    run = Run()
    extra = {"pumping": True} if rule is pressure.inflate_timeout else {}
    ticks = 0
    while rule(run, moment(**there, **extra, dt_s=1 / 128)) is None:
        ticks += 1
        assert ticks < limit * 128
    assert (ticks + 1) / 128 >= limit or field == "lop_sum_s"


def test_still_and_apart_for_300_ms(moment: MomentOf) -> None:
    there = moment(a=160.0, b=150.0)
    for apart_s, fires in [(beside(0.3, BELOW), False), (0.3, True)]:
        assert (trust.sensors_disagree(Run(still_s=0.3, apart_still_s=apart_s), there) is not None) is fires


# --- in value ------------------------------------------------------------------------------------------------------

LATE = Run(
    lop_s=9.0,
    above_s=9.0,
    under_s=99.0,
    off_target_s=9.0,
    apart_still_s=9.0,
    apart_flow_s=9.0,
    blocked_s=9.0,
    unfallen_s=9.0,
    unreleased_s=9.0,
)
STILL = replace(LATE, still_s=0.3, apart_flow_s=0.0)
FLOWING = replace(LATE, still_s=beside(0.3, BELOW), apart_still_s=0.0)
BOTH = "both"
IN_VALUE: list[tuple[Any, Run, str, float, float, dict[str, Any]]] = [
    # rule, run, which reading, last value that is right, way to the first wrong one, the rest
    (pressure.above_lop, LATE, BOTH, 187.0, ABOVE, {}),
    (pressure.above_target, LATE, BOTH, 187.5, ABOVE, {}),  # 25 % of 150
    (pressure.under_target, LATE, BOTH, 75.0, BELOW, {}),
    (pressure.off_target, LATE, BOTH, 165.0, ABOVE, {}),
    (pressure.off_target, LATE, BOTH, 135.0, BELOW, {}),
    (trust.sensors_disagree, STILL, "a", beside(160.0, BELOW), ABOVE, {"b": 150.0}),
    (trust.sensors_disagree, STILL, "b", beside(160.0, BELOW), ABOVE, {"a": 150.0}),
    (trust.sensors_disagree, FLOWING, "a", beside(160.0, BELOW), ABOVE, {"b": 100.0, "pumping": True}),
    (trust.sensors_disagree, FLOWING, "b", beside(160.0, BELOW), ABOVE, {"a": 100.0, "pumping": True}),
    (trust.tube_blocked, LATE, "a", 160.0, ABOVE, {"b": 100.0, "pumping": True}),
    (trust.tube_blocked, LATE, "b", 40.0, ABOVE, {"a": 0.0, "venting": True}),
    (trust.tube_blocked, LATE, "a", 50.0, BELOW, {"b": 100.0, "venting": True}),
    (trust.no_fall, LATE, BOTH, 20.0, ABOVE, {"venting": True}),
]


@pytest.mark.parametrize(("rule", "late", "which", "right", "way", "there"), IN_VALUE)
def test_in_value(
    rule: Any, late: Run, which: str, right: float, way: float, there: dict[str, Any], moment: MomentOf
) -> None:
    for number, fires in [(beside(right, -way), False), (right, False), (beside(right, way), True)]:
        readings = {"a": number, "b": number} if which == BOTH else {which: number}
        assert (rule(replace(late), moment(**readings, **there)) is not None) is fires, number


@pytest.mark.parametrize(
    ("rule", "field", "there"),
    [
        (pressure.above_lop, "lop_s", {}),
        (pressure.above_target, "above_s", {}),
        (pressure.under_target, "under_s", {}),
        (pressure.off_target, "off_target_s", {}),
        (trust.sensors_disagree, "apart_still_s", {}),
        (trust.sensors_disagree, "apart_flow_s", {}),
        (trust.tube_blocked, "blocked_s", {"pumping": True}),
        (trust.tube_blocked, "blocked_s", {"venting": True}),
        (trust.not_released, "unreleased_s", {"phase": Phase.WORKING}),
        (trust.not_released, "unreleased_s", {"phase": Phase.RELEASING, "empty": True}),
    ],
)
def test_what_is_right_again_starts_anew(rule: Any, field: str, there: dict[str, Any], moment: MomentOf) -> None:
    run = replace(LATE)
    assert rule(run, moment(**there, dt_s=1 / 128)) is None
    assert getattr(run, field) == 0.0


@pytest.mark.parametrize(
    "rule",
    [
        pressure.above_lop,
        pressure.above_target,
        pressure.under_target,
        pressure.off_target,
        pressure.too_long,
        pressure.no_rise,
    ],
)
def test_a_cuff_that_is_not_in_use_has_no_target(rule: Any, moment: MomentOf) -> None:
    assert rule(replace(LATE, unrisen_s=99.0), moment(a=200.0, b=200.0, use=None, pumping=True)) is None


@pytest.mark.parametrize("bad", [nan, inf])
def test_an_occlusion_pressure_or_target_that_is_no_number_trips(bad: float, moment: MomentOf, leg: CuffWatch) -> None:
    if bad != bad:
        assert pressure.above_lop(replace(LATE), moment(use=replace(leg, lop_mmhg=nan))) is not None
        assert pressure.above_target(replace(LATE), moment(use=replace(leg, target_mmhg=nan))) is not None
    assert pressure.under_target(replace(LATE), moment(use=replace(leg, target_mmhg=bad))) is not None
    assert pressure.off_target(replace(LATE), moment(use=replace(leg, target_mmhg=bad))) is not None


# --- too much pressure -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("highest", "a", "fires"),
    [
        (beside(250.0, BELOW), 150.0, False),
        (250.0, 150.0, True),
        (beside(250.0, ABOVE), 150.0, True),
        (nan, 150.0, True),
        (inf, 150.0, True),
        (-inf, 150.0, False),
        (-inf, 250.0, True),
        (-inf, beside(250.0, BELOW), False),
        (-inf, nan, False),
    ],
)
def test_over_pressure(highest: float, a: float, fires: bool, moment: MomentOf, leg: CuffWatch) -> None:
    there = moment(use=replace(leg, lop_mmhg=300.0), a=a, b=a, sight=CuffSight(highest_mmhg=highest))
    assert (pressure.over_pressure(Run(), there) is not None) is fires


@pytest.mark.parametrize(("a", "b", "fires"), [(199.9, 90.0, False), (200.0, 90.0, True), (90.0, 200.0, True)])
def test_over_pressure_at_what_the_guard_is_armed_with(
    a: float, b: float, fires: bool, moment: MomentOf, leg: CuffWatch
) -> None:
    """The guard sees B alone: where B is stuck, A must answer for the limb."""
    finding = pressure.over_pressure(Run(), moment(a=a, b=b, use=replace(leg, lop_mmhg=180.0)))
    assert (finding is not None) is fires
    assert finding is None or finding.limit == 200.0


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (251.0, 240.0, "A, at the manifold,"),
        (240.0, 251.0, "B, in the cuff,"),
        (251.0, nan, "A, at the manifold,"),
        (nan, 251.0, "B, in the cuff,"),
    ],
)
def test_over_pressure_says_whose_word_it_is(a: float, b: float, says: str, moment: MomentOf) -> None:
    """A kinked hose fills the manifold, and nobody should look for that pressure in the cuff."""
    finding = pressure.over_pressure(Run(), moment(a=a, b=b))
    assert finding is not None
    assert finding.text == f"cuff 1: sensor {says} reached 251 mmHg, the ceiling is 207 mmHg"  # LOP + 20


def test_over_pressure_keeps_to_a_tighter_ceiling(moment: MomentOf) -> None:
    tight = Limits(ceiling_mmhg=200.0)
    finding = pressure.over_pressure(Run(), moment(a=200.0, b=10.0, limits=tight))
    assert finding is not None
    assert (finding.value, finding.limit, finding.unit) == (200.0, 200.0, "mmHg")


@pytest.mark.parametrize(
    ("a", "b", "pumping", "on_limb"),
    [
        (160.0, 100.0, True, 100.0),  # the hose explains 60
        (beside(160.0, ABOVE), 100.0, True, beside(160.0, ABOVE)),
        (160.0, 100.0, False, 160.0),
        (100.0, 160.0, True, 160.0),
        (nan, 100.0, True, 100.0),
        (160.0, nan, True, 160.0),
    ],
)
def test_on_limb(a: float, b: float, pumping: bool, on_limb: float, moment: MomentOf) -> None:
    there = moment(a=a, b=b, pumping=pumping)
    assert there.limb_mmhg == on_limb
    assert on_limb_mmhg(there.seen, pumping) == on_limb


def test_above_lop_adds_up_over_a_set_and_starts_anew_every_60_s_of_a_hold(moment: MomentOf) -> None:
    run = Run(lop_sum_s=2.5)
    pressure.above_lop(run, moment(dt_s=0.5))
    assert run.lop_sum_s == 2.5
    run = Run(lop_sum_s=2.5, lop_hold_s=59.0)
    pressure.above_lop(run, moment(phase=Phase.HOLDING, dt_s=0.5))
    assert (run.lop_sum_s, run.lop_hold_s) == (2.5, 59.5)
    pressure.above_lop(run, moment(phase=Phase.HOLDING, dt_s=0.5))
    assert (run.lop_sum_s, run.lop_hold_s) == (0.0, 0.0)
    run = Run(lop_sum_s=2.5, lop_hold_s=59.5)
    assert pressure.above_lop(run, moment(a=190.0, b=190.0, dt_s=0.5)) is not None  # in a set there is no such mercy


@pytest.mark.parametrize(
    ("target", "right"),
    [(150.0, 187.5), (80.0, 100.0), (60.0, 80.0), (40.0, 60.0)],
)
def test_above_target_takes_the_larger_of_20_mmhg_and_25_percent(
    target: float, right: float, moment: MomentOf, leg: CuffWatch
) -> None:
    use = replace(leg, target_mmhg=target)
    assert pressure.above_target(Run(above_s=2.0), moment(a=right, b=right, use=use)) is None
    high = right + 1e-9
    finding = pressure.above_target(Run(above_s=2.0), moment(a=high, b=high, use=use))
    assert finding is not None
    assert finding.limit == right


@pytest.mark.parametrize(("target", "right"), [(160.0, 184.0), (50.0, 60.0), (nan, None)])
def test_the_mean_of_a_repetition(target: float, right: float | None, moment: MomentOf, leg: CuffWatch) -> None:
    use = replace(leg, target_mmhg=target)
    for mean, fires in [((right or 0.0) - 0.001, right is None), ((right or 0.0) + 0.001, True)]:
        run = Run(mean_sum_mmhg_s=(mean - target) * 4.0, mean_s=4.0, mean_repetition=2)
        finding = pressure.above_target(run, moment(a=40.0, b=40.0, use=use, repetition=3, dt_s=0.5))
        assert (finding is not None) is fires
        assert (run.mean_repetition, run.mean_s) == (3, 0.5)
        assert run.mean_sum_mmhg_s == pytest.approx((40.0 - target) * 0.5, nan_ok=True)


def test_a_target_that_is_lowered_does_not_condemn_the_pressure_before(moment: MomentOf, leg: CuffWatch) -> None:
    """`lower` twice late in a repetition: what was right at the old target is no fault at the new one."""
    run = Run(mean_repetition=2)
    for _ in range(350):
        at_old = moment(a=150.0, b=150.0, use=replace(leg, target_mmhg=150.0), repetition=2, dt_s=0.01)
        assert pressure.above_target(run, at_old) is None
    for _ in range(50):
        at_new = moment(a=150.0, b=150.0, use=replace(leg, target_mmhg=130.0), repetition=2, dt_s=0.01)
        assert pressure.above_target(run, at_new) is None
    over = moment(a=130.0, b=130.0, use=replace(leg, target_mmhg=130.0), repetition=3, dt_s=0.01)
    assert pressure.above_target(run, over) is None


@pytest.mark.parametrize("said_at_s", [0.0, 1.0, 2.0, 3.0, 3.9])
@pytest.mark.parametrize("period_s", [0.0, 4.0])
def test_what_the_slowest_vent_needs_after_a_lower_is_no_mean_above_target(
    said_at_s: float, period_s: float, moment: MomentOf, leg: CuffWatch
) -> None:
    """`lower` three times, in steps of 10 as it is practised, on a vent of 1.8 s; a pressure that stays is found."""
    for stays, fires in [(False, False), (True, True)]:
        run, found = Run(), False
        for tick in range(2400):
            at_s = tick * 0.01
            since_s = at_s - 8.0 - said_at_s
            target = 88.0 if since_s < 0.0 else 58.0
            high = 88.0 if since_s < 0.0 else 58.0 + (13.0 if stays else 30.0 * exp(-since_s / 1.8))
            repetition = int(at_s / period_s) if period_s else -1
            there = moment(a=high, b=high, use=replace(leg, target_mmhg=target), repetition=repetition, dt_s=0.01)
            found = found or pressure.above_target(run, there) is not None
        assert found is fires


def test_a_raised_target_hides_nothing(moment: MomentOf, leg: CuffWatch) -> None:
    """What never comes down is not excused by a target that goes up."""
    run = Run()
    pressure.above_target(run, moment(a=170.0, b=170.0, use=replace(leg, target_mmhg=140.0), dt_s=0.5))
    assert any(pressure.above_target(run, moment(a=180.0, b=180.0, dt_s=0.5)) for _ in range(9))


@pytest.mark.parametrize(("mean_s", "fires"), [(beside(4.0, BELOW), False), (4.0, True)])
def test_the_mean_of_4_s_without_a_repetition(mean_s: float, fires: bool, moment: MomentOf) -> None:
    run = Run(mean_sum_mmhg_s=180.0 * 4.0, mean_s=mean_s)
    assert (pressure.above_target(run, moment()) is not None) is fires


def test_no_mean_is_drawn_from_half_a_repetition(moment: MomentOf) -> None:
    run = Run(mean_sum_mmhg_s=999.0, mean_s=0.5, mean_repetition=2)
    assert pressure.above_target(run, moment(repetition=2, dt_s=0.5)) is None
    run = Run(mean_sum_mmhg_s=999.0, mean_s=0.5)  # the lead-in ends as the first repetition begins
    assert pressure.above_target(run, moment(repetition=0, dt_s=0.5)) is None
    assert pressure.above_target(Run(mean_repetition=1), moment(repetition=2)) is None  # no time has passed in it


def test_a_mean_with_an_unknown_in_it_trips(moment: MomentOf) -> None:
    run = Run(mean_repetition=0)
    pressure.above_target(run, moment(a=nan, b=nan, repetition=0, dt_s=0.5))
    assert pressure.above_target(run, moment(repetition=1, dt_s=0.5)) is not None


# --- not the pressure prescribed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "band"), [(30.0, 5.0), (50.0, 5.0), (80.0, 8.0), (150.0, 15.0), (200.0, 15.0)])
def test_the_band_of_off_target(target: float, band: float, moment: MomentOf, leg: CuffWatch) -> None:
    use = replace(leg, target_mmhg=target)
    for off, fires in [(band, False), (band + 0.001, True)]:
        for side in (1.0, -1.0):
            there = moment(a=target + side * off, b=target + side * off, use=use)
            assert (pressure.off_target(Run(off_target_s=1.5), there) is not None) is fires


@pytest.mark.parametrize(
    ("cue_at_s", "judged"), [(99.0, True), (beside(99.0, ABOVE), False), (100.0, False), (nan, True)]
)
def test_off_target_waits_until_no_repetition_is_being_cued(cue_at_s: float, judged: bool, moment: MomentOf) -> None:
    there = moment(a=100.0, b=100.0, last_cue_at_s=cue_at_s)
    assert (pressure.off_target(Run(off_target_s=1.5), there) is not None) is judged


@pytest.mark.parametrize(
    ("b", "unrisen_s", "fires"),
    [
        (10.0, beside(5.0, BELOW), False),
        (10.0, 5.0, True),
        (beside(10.0, BELOW), 5.0, False),
        (beside(10.0, BELOW), beside(20.0, BELOW), False),
        (beside(10.0, BELOW), 20.0, True),
        (nan, 5.0, True),
    ],
)
def test_no_rise(b: float, unrisen_s: float, fires: bool, moment: MomentOf) -> None:
    """A stands at 60 mmHg all the while: the hose lifts it, so it cannot say that the cuff fills."""
    there = moment(a=60.0 if b == b else nan, b=b, phase=Phase.INFLATING, pumping=True)
    run = Run(rise_from_mmhg=9.0, unrisen_s=unrisen_s)
    assert (pressure.no_rise(run, there) is not None) is fires


def test_no_rise_without_b_is_judged_on_a(moment: MomentOf) -> None:
    run = Run(rise_from_mmhg=59.0, unrisen_s=5.0)
    assert pressure.no_rise(run, moment(a=60.0, b=nan, pumping=True)) is not None


@pytest.mark.parametrize(
    ("b", "there", "rise_from"),
    [
        (52.0, {}, 52.0),  # 3 mmHg more
        (147.0, {}, 147.0),  # within 3 mmHg of the target
        (49.0, {"pumping": False}, inf),
    ],
)
def test_no_rise_starts_anew(b: float, there: dict[str, Any], rise_from: float, moment: MomentOf) -> None:
    run = Run(rise_from_mmhg=49.0, unrisen_s=4.99)
    assert pressure.no_rise(run, moment(a=b, b=b, dt_s=0.5, **({"pumping": True} | there))) is None
    assert (run.rise_from_mmhg, run.unrisen_s) == (rise_from, 0.0)


@pytest.mark.parametrize("b", [beside(52.0, BELOW), beside(147.0, BELOW)])
def test_no_rise_runs_on_just_short_of_it(b: float, moment: MomentOf) -> None:
    run = Run(rise_from_mmhg=49.0 if b < 100.0 else 146.0, unrisen_s=1.0)
    pressure.no_rise(run, moment(a=b, b=b, pumping=True, dt_s=0.5))
    assert run.unrisen_s == 1.5


def test_no_rise_begins_where_pumping_begins_and_an_unknown_start_counts(moment: MomentOf) -> None:
    run = Run()
    pressure.no_rise(run, moment(a=nan, b=nan, pumping=True, dt_s=0.5))
    assert run.unrisen_s == 0.0
    pressure.no_rise(run, moment(a=50.0, b=50.0, pumping=True, dt_s=0.5))
    assert run.unrisen_s == 0.5


@pytest.mark.parametrize(
    ("target", "here", "named_s"),
    [(60.0, 57.0, 31.0), (60.0, 56.9, 30.0), (220.0, 213.5, 31.0), (220.0, 213.0, 30.0), (220.0, 227.0, 30.0)],
)
def test_the_cuff_that_is_at_its_target_is_not_the_one_that_is_late(
    target: float, here: float, named_s: float, moment: MomentOf, leg: CuffWatch
) -> None:
    run = Run(inflating_s=30.0)
    there = {"a": here, "b": here, "use": replace(leg, target_mmhg=target), "phase": Phase.INFLATING}
    assert (pressure.inflate_timeout(run, moment(**there)) is None) is (named_s > 30.0)
    run.inflating_s = named_s
    assert pressure.inflate_timeout(run, moment(**there)) is not None


def test_a_cue_begins_the_time_off_target_anew(moment: MomentOf) -> None:
    run = Run()
    off = {"a": 166.0, "b": 166.0}
    assert pressure.off_target(run, moment(**off, dt_s=1.4)) is None
    assert pressure.off_target(run, moment(**off, dt_s=1.4, last_cue_at_s=99.5)) is None
    assert pressure.off_target(run, moment(**off, dt_s=1.4)) is None


FULL = {"a": 15.0, "b": 15.0, "venting": True}


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.READY, Phase.RESTING, Phase.MOVING, Phase.PAUSED, Phase.INFLATING])
@pytest.mark.parametrize(
    ("there", "settled", "fires"),
    [
        (FULL, True, True),
        (FULL | {"a": beside(15.0, BELOW), "b": beside(15.0, BELOW)}, True, False),
        (FULL, False, False),  # found so at power-up: boot_pressurised has it
        (FULL | {"venting": False}, True, False),
        (FULL | {"b": nan}, True, True),  # one sensor is enough
        (FULL | {"a": nan}, True, True),
        (FULL | {"a": nan, "b": nan}, True, False),  # unknown is another rule's
    ],
)
def test_a_cuff_that_fills_again_behind_open_valves(
    phase: Phase, there: dict[str, Any], settled: bool, fires: bool, moment: MomentOf
) -> None:
    run = Run(settled=settled)
    found = [trust.not_released(run, moment(**there, phase=phase, dt_s=0.5)) for _ in range(10)]
    assert [one is not None for one in found] == [False] * 9 + [fires]
    if fires:
        says = "cuff 1 does not stay empty, 15 mmHg or more for 5 s with the valves open: take the cuff off"
        assert found[-1].text == says


def test_what_is_not_known_for_a_moment_begins_the_5_s_not_anew(moment: MomentOf) -> None:
    run = Run(settled=True)
    unknown = moment(a=nan, b=nan, venting=True, phase=Phase.IDLE, dt_s=0.5)
    full = moment(**FULL, phase=Phase.IDLE, dt_s=4.5)
    assert [trust.not_released(run, one) is not None for one in (full, unknown, full, unknown)] == [
        False,
        False,
        True,
        True,
    ]
    assert "does not stay empty, 15 mmHg or more for 9 s" in str(trust.not_released(run, unknown))


def test_it_has_to_be_5_s_on_end_and_a_self_test_lets_one_valve_do_the_work(moment: MomentOf) -> None:
    run = Run(settled=True)
    for _ in range(10):
        assert trust.not_released(run, moment(**FULL, phase=Phase.RESTING, dt_s=4.5)) is None
        assert trust.not_released(run, moment(a=14.0, b=14.0, venting=True, phase=Phase.RESTING, dt_s=0.5)) is None
    for _ in range(20):
        assert trust.not_released(run, moment(**FULL, phase=Phase.TESTING, dt_s=0.5)) is None


@pytest.mark.parametrize(
    ("pumping", "from_s", "counts"), [(True, nan, True), (False, 99.0, True), (True, 99.0, True), (False, nan, False)]
)
def test_waiting_for_the_guard_is_no_inflation(pumping: bool, from_s: float, counts: bool, moment: MomentOf) -> None:
    run = Run()
    there = moment(phase=Phase.INFLATING, pumping=pumping, inflate_from_s=from_s, dt_s=0.5)
    assert pressure.inflate_timeout(run, there) is None
    assert (run.inflating_s > 0.0) is counts


# --- pressure for too long ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "cap"), [("restricted_s", 1200.0), ("exercise_restricted_s", 480.0), ("exercise_restricted_s", nan)]
)
def test_too_long(field: str, cap: float, moment: MomentOf, leg: CuffWatch) -> None:
    if cap != cap:
        assert pressure.too_long(Run(), moment(use=replace(leg, exercise_cap_s=nan))) is not None
        assert pressure.too_long(Run(), moment(use=replace(leg, limb_cap_s=nan))) is not None
        return
    for seconds, fires in [
        (beside(cap, BELOW), False),
        (cap, True),
        (beside(cap, ABOVE), True),
        (nan, True),
        (inf, True),
    ]:
        finding = pressure.too_long(Run(), moment(use=replace(leg, **{field: seconds})))
        assert (finding is not None) is fires
        if finding is not None:
            assert finding.limit == cap
            assert ("a limb" in finding.text) is (field == "restricted_s")


# --- a reading that is not true ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["a_refused", "b_refused"])
@pytest.mark.parametrize(("count", "fires"), [(2, False), (3, True), (4, True)])
def test_implausible(field: str, count: int, fires: bool, moment: MomentOf) -> None:
    finding = trust.implausible(Run(), moment(sight=CuffSight(**{field: count})))
    assert (finding is not None) is fires
    if finding is not None:
        assert finding.value == count
        assert f"sensor {'A' if field == 'a_refused' else 'B'}" in finding.text


@pytest.mark.parametrize(("a", "fires"), [(nan, True), (0.0, False), (150.0, False)])
def test_stale_sample(a: float, fires: bool, moment: MomentOf) -> None:
    assert (trust.stale_sample(Run(), moment(a=a)) is not None) is fires


@pytest.mark.parametrize(
    ("unchanged_s", "fires"), [(beside(0.3, BELOW), False), (0.3, True), (beside(0.3, ABOVE), True)]
)
def test_frozen_sample(unchanged_s: float, fires: bool, moment: MomentOf) -> None:
    assert (trust.frozen_sample(Run(), moment(sight=CuffSight(unchanged_s=unchanged_s))) is not None) is fires


def test_apart_by_less_than_60_while_air_flows_keeps_what_was_seen_at_rest(moment: MomentOf) -> None:
    run = Run(apart_still_s=0.25, apart_flow_s=1.0)
    assert trust.sensors_disagree(run, moment(a=150.0, b=120.0, pumping=True, dt_s=0.125)) is None
    assert (run.apart_still_s, run.apart_flow_s) == (0.25, 0.0)


@pytest.mark.parametrize(
    ("a", "b", "unfallen_s", "venting", "counts"),
    [
        (60.0, 150.0, beside(0.5, BELOW), True, False),  # the hose, while the cuff falls as it should
        (60.0, 150.0, 0.5, True, True),
        (150.0, 60.0, 0.0, True, True),
        (60.0, 150.0, 0.0, False, True),
        (60.0, nan, 0.0, True, True),
        (nan, 150.0, 0.0, True, True),
    ],
)
def test_b_above_a_while_the_cuff_empties_is_the_hose(
    a: float, b: float, unfallen_s: float, venting: bool, counts: bool, moment: MomentOf
) -> None:
    run = Run(apart_flow_s=1.0, unfallen_s=unfallen_s)
    trust.sensors_disagree(run, moment(a=a, b=b, venting=venting, dt_s=0.125))
    assert run.apart_flow_s == (1.125 if counts else 1.0), "a pulse of the vent forgets nothing"


def test_what_the_sensors_say_is_said_to_the_person(moment: MomentOf) -> None:
    finding = trust.sensors_disagree(Run(apart_flow_s=2.0), moment(a=120.0, b=nan, pumping=True))
    assert finding is not None
    assert "sensor A says 120 mmHg, sensor B nothing" in finding.text
    assert finding.limit == 60.0
    still = trust.sensors_disagree(Run(still_s=1.0, apart_still_s=1.0), moment(a=120.0, b=100.0))
    assert still is not None
    assert still.limit == 10.0


# --- pressure that cannot be let out -------------------------------------------------------------------------------


@pytest.mark.parametrize("readings", [{"a": nan, "b": 150.0}, {"a": 10.0, "b": nan}])
def test_a_blocked_tube_is_not_seen_with_one_sensor_and_what_was_seen_is_kept(
    readings: dict[str, float], moment: MomentOf
) -> None:
    run = Run(blocked_s=9.0, unfallen_s=9.0)
    assert trust.tube_blocked(run, moment(**readings, venting=True)) is None
    assert trust.tube_blocked(run, moment(a=0.0, b=150.0)) is None  # nothing flows: sensors_disagree's matter
    assert run.blocked_s == 9.0


def test_a_cuff_that_falls_is_not_blocked_however_low_the_manifold_reads(moment: MomentOf) -> None:
    run = Run(blocked_s=0.4)
    assert trust.tube_blocked(run, moment(a=10.0, b=150.0, venting=True, dt_s=0.125)) is None
    assert run.blocked_s == 0.0


@pytest.mark.parametrize(
    ("there", "fires"),
    [
        ({"a": 15.0, "b": 0.0}, True),
        ({"a": beside(15.0, BELOW), "b": 0.0}, False),
        ({"a": 0.0, "b": 15.0}, True),
        ({"a": 0.0, "b": nan}, True),
    ],
)
def test_not_released_counts_what_is_not_known_to_be_below_15(
    there: dict[str, float], fires: bool, moment: MomentOf
) -> None:
    run = Run(unreleased_s=4.9375)
    finding = trust.not_released(run, moment(**there, phase=Phase.STOPPING, dt_s=0.0625))
    assert (finding is not None) is fires
    assert run.unreleased_s == (5.0 if fires else 4.9375)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_release_is_due_when_the_session_says_so_and_in_every_releasing_phase(phase: Phase, moment: MomentOf) -> None:
    due = phase in (Phase.RELEASING, Phase.STOPPING, Phase.FAULT)
    assert (trust.not_released(Run(unreleased_s=5.0), moment(phase=phase)) is not None) is due
    assert trust.not_released(Run(unreleased_s=5.0), moment(phase=phase, release_due_at_s=1.0)) is not None


@pytest.mark.parametrize(
    ("mmhg", "alarms"), [(beside(50.0, BELOW), False), (50.0, True), (beside(50.0, ABOVE), True), (nan, False)]
)
def test_boot_pressurised(mmhg: float, alarms: bool, moment: MomentOf) -> None:
    run = Run()
    assert (trust.boot_pressurised(run, moment(a=mmhg, b=mmhg)) is not None) is alarms
    assert (trust.boot_pressurised(run, moment(a=20.0, b=20.0)) is not None) is alarms  # until empty
    assert trust.boot_pressurised(run, moment(a=1.0, b=1.0, empty=True)) is None
    assert trust.boot_pressurised(run, moment(a=200.0, b=200.0)) is None  # the session's own pressure


# --- the clocks that rules share -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["commanded", "pins"])
def test_the_pump_is_on_when_commanded_or_when_the_guard_says_so(where: str, moment: MomentOf) -> None:
    on = {"pumping": True} if where == "commanded" else {"sight": CuffSight(pump_on=True)}
    run = Run(pump_on_s=1.0)
    run_clocks(run, moment(dt_s=0.25, **on))
    assert (run.pump_on_s, run.pump_off_s) == (1.25, 0.0)


def test_only_a_pause_of_half_a_second_counts_for_the_pump(moment: MomentOf) -> None:
    run = Run(pump_on_s=30.0, pump_off_s=0.0)
    run_clocks(run, moment(dt_s=beside(0.5, BELOW)))
    assert run.pump_on_s == 30.0
    run.pump_off_s = 0.25
    run_clocks(run, moment(dt_s=0.25))
    assert run.pump_on_s == 0.0


def test_topping_up_ends_with_any_pause(moment: MomentOf) -> None:
    run = Run(topping_s=6.0)
    run_clocks(run, moment(dt_s=0.5, pumping=True))
    assert run.topping_s == 6.5
    run_clocks(run, moment(dt_s=0.5))
    assert run.topping_s == 0.0


@pytest.mark.parametrize(("on_s", "rests"), [(beside(39.0, BELOW), False), (39.0, True)])
def test_the_pause_is_due_after_39_s(on_s: float, rests: bool, moment: MomentOf) -> None:
    run = Run(pump_on_s=on_s, pump_off_s=0.0)
    run_clocks(run, moment(dt_s=0.125, pumping=True))
    assert run.rest_s == (0.6 if rests else 0.0)
    run = Run(pump_on_s=0.0, rest_s=0.6)
    run_clocks(run, moment(dt_s=0.125))
    assert run.rest_s == pytest.approx(0.475)


@pytest.mark.parametrize("flow", [{"pumping": True}, {"venting": True}])
def test_air_is_still_once_pump_and_valves_are_off(flow: dict[str, bool], moment: MomentOf) -> None:
    run = Run(still_s=1.0)
    run_clocks(run, moment(dt_s=0.125))
    assert run.still_s == 1.125
    run_clocks(run, moment(dt_s=0.125, **flow))
    assert run.still_s == 0.0


@pytest.mark.parametrize(
    ("mmhg", "unfallen_s", "from_mmhg"),
    [
        (100.0, 0.625, 100.0),
        (90.5, 0.625, 100.0),
        (90.0, 0.0, 90.0),
        (111.0, 0.625, 100.0),
        (111.2, 0.0, 111.2),
        (nan, 0.625, 100.0),
        (inf, 0.0, inf),
    ],
)
def test_falling_is_10_percent_since_it_last_had_fallen(
    mmhg: float, unfallen_s: float, from_mmhg: float, moment: MomentOf
) -> None:
    run = Run(fall_from_mmhg=100.0, unfallen_s=0.5)
    run_clocks(run, moment(a=mmhg, b=mmhg, venting=True, dt_s=0.125))
    assert (run.unfallen_s, run.fall_from_mmhg) == (unfallen_s, from_mmhg)
    run_clocks(run, moment(dt_s=0.125))
    assert run.unfallen_s == 0.0


@pytest.mark.parametrize(("was", "kept"), [(Phase.INFLATING, True), (Phase.WORKING, False), (Phase.HOLDING, False)])
def test_a_new_phase_starts_its_own_sums_anew(was: Phase, kept: bool) -> None:
    run = Run(
        lop_sum_s=1.0,
        lop_hold_s=1.0,
        inflating_s=1.0,
        above_s=1.0,
        under_s=1.0,
        off_target_s=1.0,
        mean_sum_mmhg_s=1.0,
        mean_s=1.0,
        mean_repetition=3,
        rise_from_mmhg=9.0,
        unrisen_s=1.0,
        topping_s=6.0,
        fall_from_mmhg=9.0,
        unfallen_s=1.0,
        lop_s=0.5,
        pump_on_s=8.0,
        unreleased_s=2.0,
    )
    new_phase(run, was)
    assert run.fall_from_mmhg != run.fall_from_mmhg
    run.fall_from_mmhg = 0.0
    kept_s = 1.0 if kept else 0.0
    assert run == Run(fall_from_mmhg=0.0, lop_sum_s=kept_s, lop_s=0.5, pump_on_s=8.0, unreleased_s=2.0)
