"""A prescription is refused, in a sentence with value, limit and unit, unless limb, LOP and target fit together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.limits import ARMED_CEILING_MMHG, Limits, armed_ceiling_mmhg
from controller.core.model import Limb, Mode, Prescription, Side
from controller.prescription.library import named
from controller.prescription.prescribe import Lop, LopMethod, Posture, Refused, prescribe, target_max_mmhg
from controller.prescription.protocol import Exercise, Protocol, Sources, TempoTable

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LOP = Lop(187.0, 187.0, LopMethod.DOPPLER, Limb.LEG, Side.LEFT, Posture.SUPINE, 13.5, NOW - timedelta(hours=1), "JD")
BFR, PASSIVE, KNEE, OCCLUSION = (named(n) for n in ("bfr-30-15-15-15", "passive-5x5", "knee-oa", "occlusion"))


def made(protocol: Protocol = BFR, **changes: Any) -> Prescription:
    lop = replace(LOP, **changes.pop("lop", {}))
    if "mmhg" in changes:
        lop = replace(lop, mmhg=changes["mmhg"], again_mmhg=changes.pop("mmhg"))
    asked: dict[str, Any] = {
        "code": "K7-031",
        "limb": Limb.LEG,
        "side": Side.LEFT,
        "posture": Posture.SUPINE,
        "cuff_width_cm": 13.5,
        "lop": lop,
        "by": "AB",
        "now_utc": NOW,
    }
    return prescribe(protocol, **asked | changes)


def refusal(protocol: Protocol = BFR, **changes: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        made(protocol, **changes)
    assert str(caught.value) == caught.value.text
    assert caught.value.text.isprintable()
    return caught.value


# --- LOP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmhg", [30.0, 79.9, 330.1, 400.0, 0.0, -187.0, nan, inf, -inf])
def test_an_lop_outside_80_to_330_is_refused(mmhg: float) -> None:
    refused = refusal(mmhg=mmhg)
    assert "must be from 80 to 330 mmHg" in refused.text
    assert refused.limit in (80.0, 330.0)
    assert refused.unit == "mmHg"


@pytest.mark.parametrize("mmhg", [80.0, 330.0])
def test_the_bounds_of_lop_are_inside(mmhg: float) -> None:
    assert made(mmhg=mmhg, percent_lop=40).plan.lop_mmhg == mmhg


@pytest.mark.parametrize("again_mmhg", [178.0, 187.1, 817.0, nan])
def test_an_lop_is_typed_twice_the_same(again_mmhg: float) -> None:
    assert "type the same number twice" in refusal(lop={"again_mmhg": again_mmhg}).text


def test_two_measurements_far_apart_ask_for_another() -> None:
    assert "measure again" not in refusal(lop={"again_mmhg": 197.0}).text
    assert "measure again" in refusal(lop={"again_mmhg": 197.5}).text


@pytest.mark.parametrize(
    ("lop", "words"),
    [
        ({"side": Side.RIGHT}, "the LOP is of the right leg and the cuff is on the left leg"),
        ({"limb": Limb.ARM}, "the LOP is of the left arm and the cuff is on the left leg"),
        ({"cuff_width_cm": 11.5}, "measured with a cuff of 11.5 cm and one of 13.5 cm is fitted"),
        ({"cuff_width_cm": nan}, "is fitted"),
        ({"by": "J. Doe"}, "the initials 'J. Doe' must be 1 to 4 letters"),
    ],
)
def test_an_lop_of_something_else_is_refused(lop: dict[str, Any], words: str) -> None:
    assert words in refusal(lop=lop).text


@pytest.mark.parametrize("measured", Posture)
@pytest.mark.parametrize("exercised", Posture)
def test_postures(measured: Posture, exercised: Posture) -> None:
    order = ["supine", "seated", "standing"]
    change: dict[str, Any] = {"lop": {"posture": measured}, "posture": exercised}
    if order.index(measured) > order.index(exercised):
        assert f"measured {measured} and the exercise is {exercised}, where LOP is lower" in refusal(**change).text
    else:
        assert bool(made(**change).warnings) is (measured is not exercised)


@pytest.mark.parametrize("width_cm", [2.9, 25.1, nan, inf, 0.0])
def test_a_width_that_no_cuff_has_is_refused(width_cm: float) -> None:
    assert "must be from 3 to 25 cm" in refusal(cuff_width_cm=width_cm, lop={"cuff_width_cm": width_cm}).text


@pytest.mark.parametrize(("limb", "width_cm", "warns"), [("leg", 10, 0), ("leg", 9, 1), ("arm", 12, 0), ("arm", 13, 1)])
def test_an_unusual_width_warns(limb: str, width_cm: float, warns: int) -> None:
    lop = {"limb": Limb(limb), "cuff_width_cm": width_cm}
    assert len(made(limb=Limb(limb), cuff_width_cm=width_cm, lop=lop).warnings) == warns


def test_an_lop_dated_ahead_of_the_clock_is_refused() -> None:
    text = refusal(lop={"at": NOW + timedelta(hours=1)}).text
    assert "dated 2026-03-02 11:00 UTC and this machine's clock says 2026-03-02 10:00 UTC" in text


@pytest.mark.parametrize(
    ("at", "old"),
    [
        (NOW, ""),
        (NOW.replace(hour=0), ""),
        (NOW - timedelta(hours=11), "1 day old, of 2026-03-01"),
        (NOW - timedelta(days=56), "56 days old, of 2026-01-05"),
        (NOW.astimezone(timezone(timedelta(hours=-11))) - timedelta(hours=22), ""),  # its own day
    ],
)
def test_an_lop_that_is_not_of_today_is_named_with_its_age(at: datetime, old: str) -> None:
    warnings = made(lop={"at": at}).warnings
    assert len(warnings) == bool(old)
    assert old in "".join(warnings)


def test_the_provenance_goes_into_the_record() -> None:
    assert LOP.record() == {
        "lop_mmhg": 187.0,
        "lop_method": "doppler",
        "lop_posture": "supine",
        "lop_cuff_width_cm": 13.5,
        "lop_at": "2026-03-02T09:00:00+00:00",
        "lop_by": "JD",
    }
    assert LopMethod(" Doppler") is LopMethod.DOPPLER
    with pytest.raises(ValueError, match="guess"):
        LopMethod("guess")


# --- target ----------------------------------------------------------------------------------------------------


def test_the_target_is_the_percent_of_lop() -> None:
    prescription = made()
    assert prescription.plan.target_mmhg == pytest.approx(112.2)
    assert prescription.plan.percent_lop == 60.0
    assert prescription.warnings == ()
    assert prescription.cuff == 0
    assert prescription.timeline.protocol == "bfr-30-15-15-15"
    assert made(percent_lop=80, cuff=1).plan.target_mmhg == pytest.approx(149.6)


@pytest.mark.parametrize(
    ("protocol", "percent", "limit"),
    [(BFR, 39.9, 40), (BFR, 80.1, 80), (BFR, nan, 80), (BFR, inf, 80), (PASSIVE, 90.1, 90), (PASSIVE, 100, 90)],
)
def test_a_percent_outside_the_window_is_refused(protocol: Protocol, percent: float, limit: float) -> None:
    refused = refusal(protocol, percent_lop=percent)
    assert (refused.limit, refused.unit) == (limit, "% of LOP")


def test_a_target_that_does_not_fit_names_the_largest_that_does() -> None:
    refused = refusal(mmhg=300.0, percent_lop=80)
    assert refused.text.endswith(
        "is a target of 240 mmHg, and it must be at most 220 mmHg: the largest % that fits is 73.3"
    )
    assert (refused.value, refused.limit, refused.unit) == (240.0, 220.0, "mmHg")
    assert made(mmhg=300.0, percent_lop=73.3).plan.target_mmhg <= 220.0
    assert "the largest" in refusal(mmhg=300.0, percent_lop=73.4).text


def test_a_tighter_bench_lowers_the_highest_target_and_the_times() -> None:
    assert target_max_mmhg(Limits(ceiling_mmhg=200.0)) == 176.0
    assert "at most 176 mmHg" in refusal(mmhg=300.0, limits=Limits(ceiling_mmhg=200.0)).text
    assert "no % of its window (40 and up) fits" in refusal(mmhg=300.0, limits=Limits(ceiling_mmhg=100.0)).text
    refused = refusal(limits=Limits(exercise_cap_s=419.0))
    assert (refused.value, refused.limit, refused.unit) == (420.0, 419.0, "s")
    assert "4 x 30 s inflating + 300 s of sets = 420 s" in refused.text
    assert refusal(limits=Limits(limb_cap_leg_s=419.0)).limit == 419.0
    assert made(limits=Limits(limb_cap_arm_s=60.0, limb_cap_leg_s=420.0, exercise_cap_s=420.0))


@given(st.floats(), st.none() | st.floats(), st.sampled_from([BFR, PASSIVE, KNEE, OCCLUSION]))
def test_no_number_gets_a_target_past_its_limits(mmhg: float, percent: float | None, protocol: Protocol) -> None:
    try:
        plan = made(protocol, mmhg=mmhg, percent_lop=percent).plan
    except Refused:
        assert mmhg != 187.0 or percent is not None
        return
    most = 90.0 if protocol.mode is Mode.PASSIVE else 80.0
    assert 80.0 <= plan.lop_mmhg <= 330.0
    assert 40.0 <= plan.percent_lop <= most
    assert 32.0 <= plan.target_mmhg <= 220.0
    assert plan.target_mmhg <= plan.lop_mmhg * most / 100.0 + 1e-9
    assert plan.target_mmhg * 1.1 < min(ARMED_CEILING_MMHG, armed_ceiling_mmhg(plan.lop_mmhg))


@given(st.floats(80.0, 330.0), st.floats(40.0, 80.0))
def test_nothing_that_fits_is_refused_and_nothing_is_clamped(mmhg: float, percent: float) -> None:
    if mmhg * percent / 100.0 <= 220.0:
        assert made(mmhg=mmhg, percent_lop=percent).plan.target_mmhg == mmhg * percent / 100.0
    else:
        fits = float(refusal(mmhg=mmhg, percent_lop=percent).text.rpartition(" ")[2])
        assert made(mmhg=mmhg, percent_lop=fits).plan.percent_lop == fits
        assert refusal(mmhg=mmhg, percent_lop=fits + 0.11)


# --- who, which limb, how often --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["", "Jan de Vries", "j.devries", "1954-03-12-X7", "é1", "a\n", "-1", "../x"])
def test_a_code_is_not_a_name(code: str) -> None:
    assert "a code and never a name" in refusal(code=code).text


def test_a_code_without_a_digit_warns() -> None:
    assert "not somebody's name" in made(code="Marie").warnings[0]


@pytest.mark.parametrize("by", ["", "Jan V", "ABCDE", "A1", "a\n"])
def test_initials_are_letters(by: str) -> None:
    assert "must be 1 to 4 letters" in refusal(by=by).text


def test_a_protocol_of_another_limb_is_refused() -> None:
    assert "knee-oa is for the leg, not for the arm" in refusal(KNEE, limb=Limb.ARM, lop={"limb": Limb.ARM}).text


def when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d from %H:%M %Z}"


def ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=h) for h in hours]


def test_the_weekly_limit_is_kept() -> None:
    three, four = ago(30, 80, 167), ago(30, 80, 130, 167)
    refused = refusal(BFR, earlier_utc=three)
    assert (refused.value, refused.limit, refused.unit) == (3.0, 3.0, "sessions")
    assert "a session counts once its cuff was at its target" in refused.text
    assert refused.text.endswith(f"the next may be on {when(NOW + timedelta(hours=1))}"), (
        "when the oldest is a week old"
    )
    five = refusal(OCCLUSION, earlier_utc=ago(30, 80, 130, 140, 167))
    assert five.text.endswith(when(NOW + timedelta(hours=28))), "when fewer than four are left"
    assert made(BFR, earlier_utc=ago(30, 80, 168)).warnings == ()
    assert "seasoned people only" in made(OCCLUSION, earlier_utc=three).warnings[0]
    assert refusal(OCCLUSION, earlier_utc=four).limit == 4.0


def test_the_daily_limit_is_kept() -> None:
    """Passive: once or twice a day; by the week alone all fourteen could be on one."""
    refused = refusal(PASSIVE, earlier_utc=ago(2, 9, 23.5))
    assert (refused.value, refused.limit, refused.unit) == (3.0, 2.0, "sessions")
    assert refused.text.endswith(f"the next may be on {when(NOW + timedelta(hours=15))}"), (
        "when fewer than two are left"
    )
    assert refusal(PASSIVE, earlier_utc=ago(2, 23.9)).limit == 2.0
    assert made(PASSIVE, earlier_utc=ago(2, 24)).warnings == ()


def test_the_hours_between_two_sessions_are_kept() -> None:
    assert (refusal(KNEE, earlier_utc=ago(35.9)).limit, refusal(KNEE, earlier_utc=ago(35.9)).unit) == (36.0, "h")
    assert refusal(KNEE, earlier_utc=ago(35.0, 200.0)).text.endswith(when(NOW + timedelta(hours=1)))
    assert made(KNEE, earlier_utc=ago(36.0)).warnings == ()
    assert made(KNEE, earlier_utc=[NOW + timedelta(hours=1)]).warnings == ()  # a clock that was set back


def test_without_a_cuff_no_lop_is_asked_for() -> None:
    exercise = Exercise("squat", repetitions=(10,), tempo=TempoTable(3.0, 3.0))
    protocol = Protocol("slow", "slow", Mode.NONE, Sources(sets="t", tempo="t"), exercises=(exercise,))
    plan = made(protocol, lop={}).plan
    assert isnan(plan.target_mmhg)
    bare = prescribe(
        protocol,
        code="K1",
        limb=Limb.LEG,
        side=Side.LEFT,
        posture=Posture.STANDING,
        cuff_width_cm=0.0,
        lop=None,
        by="AB",
        now_utc=NOW,
    )
    assert isnan(bare.plan.lop_mmhg)
    with pytest.raises(Refused, match="needs an LOP"):
        prescribe(
            BFR,
            code="K1",
            limb=Limb.LEG,
            side=Side.LEFT,
            posture=Posture.STANDING,
            cuff_width_cm=13.5,
            lop=None,
            by="AB",
            now_utc=NOW,
        )
