"""The plausibility gate: what is refused, what is missing, what is shown."""

from __future__ import annotations

from math import inf, nan, nextafter

import pytest

from controller.core import seeing
from controller.core.limits import DEFAULT_LIMITS
from controller.core.model import (
    VENTED,
    ChannelStatus,
    CuffOutputs,
    GuardState,
    GuardStatus,
    Inputs,
    Sample,
    Seen,
)
from controller.core.seeing import CuffSight, Sight, look, plausible

CLOSED = CuffOutputs(0.0, False, False, False)
PUMPING = CuffOutputs(0.5, True, False, False)
BAD = [nan, inf, -inf, 1e9, -1e9]


def status(b: float = 100.0, at_s: float = 1.0, **other: object) -> GuardStatus:
    fields: dict[str, object] = {
        "boot_id": 7,
        "expected_boot_id": 7,
        "guard_ms": 0,
        "state": GuardState.ARMED,
        "trip": "",
        "trip_cuff": 255,
        "estop_ok": True,
        "channels": (ChannelStatus(b, 0.0, False, False, False),),
    }
    return GuardStatus(at_s, **(fields | other))  # type: ignore[arg-type]


def at(now_s: float, a: float = 100.0, b: float = 100.0) -> Sight:
    """A bench that has accepted these readings at `now_s`."""
    cuff = CuffSight(a_mmhg=a, a_at_s=now_s, a_counts=5, b_mmhg=b, b_at_s=now_s, b_known=True)
    return Sight((cuff,), now_s, status=status(b, now_s))


def one_tick(
    sight: Sight,
    *samples: Sample,
    statuses: tuple[GuardStatus, ...] = (),
    given: CuffOutputs = CLOSED,
    dt: float = 0.01,
) -> tuple[CuffSight, Seen, Sight]:
    new, seen = look(sight, Inputs((samples,), statuses), (given,), DEFAULT_LIMITS, sight.last_now_s + dt)
    return new.cuffs[0], seen[0], new


# --- what can be true --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmhg", BAD)
def test_no_number_at_all_is_never_plausible(mmhg: float) -> None:
    assert not plausible(mmhg, inf, 0.0, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("mmhg", "true"),
    [(-20.0, True), (nextafter(-20.0, -inf), False), (345.0, True), (nextafter(345.0, inf), False), (0.0, True)],
)
def test_scale(mmhg: float, true: bool) -> None:
    assert plausible(mmhg, 10.0, 100.0, DEFAULT_LIMITS) is true


@pytest.mark.parametrize(
    ("elapsed_s", "step", "true"),
    [
        (0.0, 50.0, True),
        (0.0, nextafter(50.0, inf), False),
        (0.0078125, 89.0625, True),
        (0.0078125, nextafter(89.0625, inf), False),
        (nan, 1.0, False),
    ],
)
def test_step_of_50_and_5_per_ms(elapsed_s: float, step: float, true: bool) -> None:
    assert plausible(step, elapsed_s, 0.0, DEFAULT_LIMITS) is true
    assert plausible(0.0, elapsed_s, step, DEFAULT_LIMITS) is true


@pytest.mark.parametrize(("mmhg", "may_fall", "true"), [(5.0, True, True), (5.0, False, False), (335.0, True, False)])
def test_with_a_valve_open_only_the_way_down_is_free(mmhg: float, may_fall: bool, true: bool) -> None:
    assert plausible(mmhg, 0.01, 200.0, DEFAULT_LIMITS, may_fall) is true


@pytest.mark.parametrize("bad", [nan, -inf, -20.1])
def test_with_a_valve_open_it_must_still_be_a_pressure(bad: float) -> None:
    assert not plausible(bad, 0.01, 200.0, DEFAULT_LIMITS, True)


# --- A -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmhg", [nan, inf, -inf, -20.1, 345.1, 100.0 + 101.0])
def test_a_refused_sample_is_like_a_missing_one_and_is_counted(mmhg: float) -> None:
    cuff, seen, _ = one_tick(at(1.0), Sample(1.01, mmhg, 9))
    assert cuff.a_refused == 1
    assert seen.a_mmhg == 100.0
    assert cuff.a_at_s == 1.0
    assert cuff.highest_mmhg == -inf


def test_every_sample_since_the_last_tick_is_looked_at() -> None:
    cuff, seen, _ = one_tick(at(1.0), Sample(1.003, 140.0, 6), Sample(1.006, nan, 7), Sample(1.009, 120.0, 8))
    assert cuff.highest_mmhg == 140.0
    assert seen.a_mmhg == 120.0
    assert cuff.a_refused == 0  # in a row, and the last one was good


def test_three_in_a_row_are_counted_over_ticks_and_a_missing_one_does_not_pardon() -> None:
    sight = at(1.0)
    for n, sample in enumerate([Sample(1.01, nan, 1), Sample(1.02, nan, -1, "bus error"), Sample(1.03, -30.0, 2)]):
        _, _, sight = one_tick(sight, sample)
        assert sight.cuffs[0].a_refused == [1, 1, 2][n]
    cuff, _, _ = one_tick(sight, Sample(1.04, 999.0, 3))
    assert cuff.a_refused == 3


def test_a_sample_that_says_it_is_none_is_missing_not_implausible() -> None:
    cuff, seen, _ = one_tick(at(1.0), Sample(1.01, nan, -1, "bus error"))
    assert cuff.a_refused == 0
    assert not cuff.no_pump
    assert seen.a_mmhg == 100.0


@pytest.mark.parametrize("at_s", [1.0, 0.5, 1.02, nan, inf])
def test_an_old_sample_or_one_from_the_future_is_missing(at_s: float) -> None:
    cuff, seen, _ = one_tick(at(1.0), Sample(at_s, 110.0, 9))
    assert seen.a_mmhg == 100.0
    assert cuff.a_at_s == 1.0
    assert not cuff.no_pump


@pytest.mark.parametrize("at_s", [1.01, 1.0])
@pytest.mark.parametrize(
    ("mmhg", "forbids"),
    [(250.0, True), (nextafter(250.0, 0.0), False), (400.0, True), (inf, True), (nan, True), (-30.0, False)],
)
def test_a_refused_value_at_or_above_the_ceiling_forbids_pumping(mmhg: float, forbids: bool, at_s: float) -> None:
    cuff, _, _ = one_tick(at(1.0), Sample(at_s, mmhg, 9))
    assert cuff.no_pump is forbids


def test_a_refusal_holds_for_its_own_tick_only() -> None:
    cuff, _, sight = one_tick(at(1.0), Sample(1.01, 400.0, 9), Sample(1.0101, 100.0, 9))
    assert cuff.no_pump
    assert not one_tick(sight, Sample(1.02, 100.0, 9))[0].no_pump


@pytest.mark.parametrize(("age_s", "known"), [(0.0625, True), (nextafter(0.1, 0.0), True), (0.1, False), (0.2, False)])
def test_a_is_unknown_from_100_ms_on(age_s: float, known: bool) -> None:
    sight = Sight((CuffSight(a_mmhg=100.0, a_at_s=0.0, b_mmhg=90.0, b_known=True),), 0.0)
    _, seen, _ = one_tick(sight, dt=age_s)
    assert (seen.a_mmhg == 100.0) is known
    assert seen.certain is known
    assert seen.pressure_mmhg == (100.0 if known else 90.0)


def test_a_nan_clock_makes_a_unknown() -> None:
    _, seen, new = one_tick(at(1.0), Sample(1.01, 100.0, 6), dt=nan)
    assert seen.a_mmhg != seen.a_mmhg
    assert new.dt_s == 0.1


@pytest.mark.parametrize(
    ("outputs", "ticks", "accepted"),
    [
        (VENTED, 0, True),
        (CuffOutputs(0.0, False, False, True), 0, True),
        (VENTED, 24, True),  # closed again for 195 ms, which a slow valve may not have noticed
        (VENTED, 25, False),
        (CLOSED, 0, False),
    ],
)
def test_a_manifold_may_collapse_when_a_valve_opens(outputs: CuffOutputs, ticks: int, accepted: bool) -> None:
    sight = at(1.0, a=240.0)
    sight.cuffs[0].closed_s = 9.0
    _, _, sight = one_tick(sight, Sample(1.0078125, 240.0, 6), given=outputs, dt=1 / 128)
    for n in range(ticks):
        now_s = sight.last_now_s + 1 / 128
        _, _, sight = one_tick(sight, Sample(now_s, 240.0, n), given=CLOSED, dt=1 / 128)
    cuff, _, _ = one_tick(
        sight, Sample(sight.last_now_s + 1 / 128, 10.0, 99), given=outputs if not ticks else CLOSED, dt=1 / 128
    )
    assert (cuff.a_refused == 0) is accepted


# --- B and the guard ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "held"), [(0.01, True), (0.09375, True), (0.125, False), (0.5, False)])
def test_b_that_is_missing_is_held_as_long_as_a_would_be_and_is_no_refusal(after_s: float, held: bool) -> None:
    at_s = 1.0 + after_s
    cuff, seen, _ = one_tick(at(1.0), Sample(at_s, 80.0, 6), statuses=(status(nan, at_s),), dt=after_s)
    assert (seen.b_mmhg == seen.b_mmhg, seen.certain) == (held, held)
    assert seen.pressure_mmhg == (100.0 if held else 80.0)
    assert cuff.b_refused == 0


def test_a_guard_whose_clock_stands_still_holds_no_b() -> None:
    _, seen, _ = one_tick(at(1.0), Sample(1.125, 80.0, 6), statuses=(status(nan, 1.0),), dt=0.125)
    assert seen.b_mmhg != seen.b_mmhg


def test_b_that_was_never_there_is_not_held() -> None:
    sight = Sight((CuffSight(),), 1.0)
    assert one_tick(sight, statuses=(status(nan, 1.01),))[1].b_mmhg != 100.0
    assert not one_tick(sight, Sample(1.01, 0.0, 6), statuses=(status(nan, 1.01),))[1].certain


@pytest.mark.parametrize("b", [inf, -inf, -20.1, 345.1, 151.1])
def test_b_passes_the_same_gate(b: float) -> None:
    sight = at(1.0)
    cuff, seen, sight = one_tick(sight, statuses=(status(b, 1.0),))
    assert (cuff.b_refused, seen.b_mmhg) == (1, 100.0)
    assert cuff.no_pump is (b >= 250.0)
    cuff, seen, _ = one_tick(sight, statuses=(status(101.0, 1.02),))
    assert (cuff.b_refused, seen.b_mmhg) == (0, 101.0)


@pytest.mark.parametrize("at_s", [0.5, 2.0, nan])
def test_a_status_of_another_time_gives_no_b(at_s: float) -> None:
    cuff, seen, _ = one_tick(at(1.0), statuses=(status(101.0, at_s),))
    assert (cuff.b_refused, seen.b_mmhg) == (1, 100.0)


def test_every_b_since_the_last_tick_is_looked_at() -> None:
    cuff, seen, _ = one_tick(at(1.0), statuses=(status(140.0, 1.01), status(120.0, 1.01)))
    assert (cuff.highest_mmhg, seen.b_mmhg) == (140.0, 120.0)


def test_a_status_without_this_channel_knows_nothing_of_it() -> None:
    cuff, seen, _ = one_tick(at(1.0), statuses=(status(channels=()),))
    assert not cuff.b_known
    assert seen.b_mmhg != seen.b_mmhg


@pytest.mark.parametrize(("silent_s", "known"), [(0.2421875, True), (0.25, False)])
def test_b_is_unknown_when_the_guard_is_silent_for_250_ms(silent_s: float, known: bool) -> None:
    sight = at(1.0)
    for _ in range(int(silent_s * 128)):
        _, seen, sight = one_tick(sight, dt=1 / 128)
    assert (seen.b_mmhg == 100.0) is known
    assert sight.silent_s == silent_s


def test_what_the_guard_says_of_itself_is_kept_from_every_status_until_the_next() -> None:
    tripped = status(state=GuardState.TRIPPED, trip="ceiling", at_s=1.0)
    _, _, sight = one_tick(at(1.0), statuses=(status(estop_ok=False, at_s=1.0), tripped, status(at_s=1.0)))
    assert sight.stopped
    assert sight.tripped is tripped
    _, _, later = one_tick(sight)
    assert later.stopped
    assert later.tripped is tripped
    _, _, cleared = one_tick(later, statuses=(status(at_s=1.02),))
    assert not cleared.stopped
    assert cleared.tripped is None


def test_another_boot_is_noticed_by_handshake_and_by_change() -> None:
    assert one_tick(at(1.0), statuses=(status(boot_id=8, at_s=1.0),))[2].rebooted
    assert one_tick(at(1.0), statuses=(status(boot_id=8, expected_boot_id=8, at_s=1.0),))[2].rebooted
    assert not one_tick(at(1.0), statuses=(status(at_s=1.0),))[2].rebooted
    assert not one_tick(seeing.initial(1, 1.0), statuses=(status(at_s=1.0),))[2].rebooted


@pytest.mark.parametrize(
    ("samples", "statuses", "link_fault", "whole"),
    [
        ((Sample(1.01, 100.0, 6),), (status(at_s=1.01),), "", True),
        ((Sample(1.01, 100.0, 6),), (status(at_s=1.01),), "down", False),
        ((Sample(1.01, 100.0, 6),), (status(nan, 1.01),), "", False),
        ((Sample(1.01, 100.0, 6),), (status(at_s=1.01, estop_ok=False),), "", False),
        ((Sample(1.01, 100.0, 6),), (status(at_s=1.01, state=GuardState.TRIPPED),), "", False),
        ((Sample(1.01, 100.0, 6),), (status(at_s=1.01, boot_id=9),), "", False),
        ((), (status(at_s=1.01),), "", False),
        ((Sample(1.01, 100.0, 6),), (), "", False),
    ],
)
def test_whole(samples: tuple[Sample, ...], statuses: tuple[GuardStatus, ...], link_fault: str, whole: bool) -> None:
    new, _ = look(
        seeing.initial(1, 1.0), Inputs((samples,), statuses, link_fault=link_fault), (CLOSED,), DEFAULT_LIMITS, 1.01
    )
    assert new.whole is whole


# --- the higher of the two, empty, frozen, time -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "pressure", "certain"),
    [
        (100.0, 110.0, 110.0, True),
        (110.0, 100.0, 110.0, True),
        (nan, 100.0, 100.0, False),
        (100.0, nan, 100.0, False),
        (nan, nan, nan, False),
    ],
)
def test_the_higher_of_a_and_b(a: float, b: float, pressure: float, certain: bool) -> None:
    samples = () if a != a else (Sample(1.01, a, 6),)
    _, seen, _ = one_tick(seeing.initial(1, 1.0), *samples, statuses=(status(b, 1.01),))
    assert seen.pressure_mmhg == pytest.approx(pressure, nan_ok=True)
    assert seen.certain is certain


def empty_after(ticks: int, a: float, b: float, given: CuffOutputs) -> bool:
    sight = at(0.0, a, b)
    for n in range(1, ticks + 1):
        now_s = n / 128
        _, seen, sight = one_tick(sight, Sample(now_s, a, n), statuses=(status(b, now_s),), given=given, dt=1 / 128)
    return seen.empty


@pytest.mark.parametrize(
    ("ticks", "a", "b", "given", "empty"),
    [
        (63, 0.0, 0.0, VENTED, False),
        (64, 0.0, 0.0, VENTED, True),
        (64, nextafter(15.0, 0.0), nextafter(15.0, 0.0), VENTED, True),
        (128, 15.0, 0.0, VENTED, False),
        (128, 0.0, 15.0, VENTED, False),
        (128, 0.0, nan, VENTED, False),
        (128, 0.0, 0.0, CLOSED, False),
    ],
)
def test_empty_is_measured(ticks: int, a: float, b: float, given: CuffOutputs, empty: bool) -> None:
    assert empty_after(ticks, a, b, given) is empty


def test_empty_starts_anew_when_the_vent_was_closed_or_the_outputs_are_not_known() -> None:
    sight = Sight((CuffSight(empty_s=9.0, b_known=True),), 0.0)
    assert one_tick(sight, Sample(0.01, 0.0, 1), statuses=(status(0.0, 0.01),), given=VENTED)[1].empty
    assert not one_tick(sight, Sample(0.01, 0.0, 1), statuses=(status(0.0, 0.01),), given=CLOSED)[1].empty
    _, seen = look(sight, Inputs(((Sample(0.01, 0.0, 1),),), (status(0.0, 0.01),)), (), DEFAULT_LIMITS, 0.01)
    assert not seen[0].empty


@pytest.mark.parametrize("given", [PUMPING, VENTED])
def test_identical_counts_add_up_only_while_something_should_move_them(given: CuffOutputs) -> None:
    sight = at(1.0)
    cuff, _, sight = one_tick(sight, Sample(1.01, 100.0, 5), given=given)
    assert cuff.unchanged_s == pytest.approx(0.01)
    cuff, _, sight = one_tick(sight, Sample(1.02, 100.0, 5), given=CLOSED)
    assert cuff.unchanged_s == pytest.approx(0.01)  # kept: pumping in bursts must not hide it
    cuff, _, sight = one_tick(sight, given=given)
    assert cuff.unchanged_s == pytest.approx(0.01)  # no sample, no news
    assert one_tick(sight, Sample(1.035, 100.0, 5), Sample(1.04, 100.0, 6), given=given)[0].unchanged_s == 0.0


@pytest.mark.parametrize(("a", "b", "judged"), [(20.0, 30.0, False), (21.0, 21.0, True), (50.0, 20.0, False)])
def test_an_empty_or_slack_cuff_may_read_the_same_twice(a: float, b: float, judged: bool) -> None:
    cuff, _, _ = one_tick(at(1.0, a, b), Sample(1.01, a, 5), given=PUMPING)
    assert (cuff.unchanged_s > 0.0) is judged


def test_without_b_a_alone_says_that_the_cuff_is_filled() -> None:
    sight = Sight((CuffSight(a_mmhg=50.0, a_at_s=1.0, a_counts=5, b_mmhg=0.0, b_known=False),), 1.0)
    assert one_tick(sight, Sample(1.01, 50.0, 5), given=PUMPING)[0].unchanged_s > 0.0


@pytest.mark.parametrize(
    ("gap_s", "dt_s"), [(0.0, 0.0), (0.01, 0.01), (0.1, 0.1), (0.2, 0.1), (-0.5, 0.1), (inf, 0.1), (nan, 0.1)]
)
def test_durations_are_added_up_from_a_bounded_tick(gap_s: float, dt_s: float) -> None:
    sight = Sight((CuffSight(),), 0.0)
    new, _ = look(sight, Inputs(((),), ()), (CLOSED,), DEFAULT_LIMITS, gap_s)
    assert new.dt_s == dt_s
    assert new.gap_s == pytest.approx(gap_s, nan_ok=True)


def test_the_sight_handed_in_is_not_changed() -> None:
    sight = at(1.0)
    before = repr(sight)
    one_tick(sight, Sample(1.01, 120.0, 6), statuses=(status(130.0, 1.01, estop_ok=False),), given=VENTED)
    assert repr(sight) == before
