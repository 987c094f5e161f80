"""A prescription: a protocol joined to one limb and to a limb occlusion pressure (LOP) that somebody measured.

Imports `core` and this package only. Pressures are mmHg, widths cm. Nothing is clamped: what does not fit is refused
with the value, the limit and, for a target, the largest % that would fit. Sources: [F] read, [K] known, [D] derived,
[J] this project's judgement.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import floor, nan
from typing import Final

from controller.core.limits import (
    DEFAULT_LIMITS,
    LOP_MAX_MMHG,
    LOP_MIN_MMHG,
    TARGET_MAX_MMHG,
    TRAINING_CEILING_MMHG,
    Limits,
)
from controller.core.model import CuffPlan, Limb, Mode, Prescription, Side

from .protocol import Protocol
from .timeline import planned_by_exercise, to_timeline, worst_on_limb

CUFF_WIDTH_MIN_CM, CUFF_WIDTH_MAX_CM = 3.0, 25.0  # [J] what is a cuff at all; 5-18 cm are in use
CUFF_WIDTHS_CM: Final = {Limb.ARM: (5.0, 12.0), Limb.LEG: (10.0, 18.0)}  # [K med Patterson]; outside it warns
SAME_WIDTH_CM: Final = 0.05  # [J] two entries of one width
WEEK: Final = timedelta(days=7)
DAY: Final = timedelta(days=1)
RETEST_MMHG: Final = 10.0  # two measurements further apart are measured again [J, from repeatability < 1.5 mmHg F]
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,11}")
_INITIALS: Final = re.compile(r"[A-Za-z]{1,4}")


class Posture(StrEnum):
    """From lying to upright. LOP rises with it: 187, 204, 242 mmHg on a leg [F Hughes 2018]."""

    SUPINE = "supine"
    SEATED = "seated"
    STANDING = "standing"

    @property
    def uprightness(self) -> int:
        return (Posture.SUPINE, Posture.SEATED, Posture.STANDING).index(self)


class LopMethod(StrEnum):
    """How the LOP was measured. Taken in any case of letters."""

    DOPPLER = "doppler"
    OXIMETER = "oximeter"
    PLETHYSMOGRAPH = "plethysmograph"
    OSCILLOMETRIC = "oscillometric"
    PALPATION = "palpation"
    DEVICE = "device"  # another device's own measurement
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> LopMethod | None:
        small = value.strip().lower() if isinstance(value, str) else ""
        return next((method for method in cls if method.value == small), None)


@dataclass(frozen=True, slots=True)
class Lop:
    """A limb occlusion pressure and where it comes from. `again_mmhg` is the same number, typed a second time."""

    mmhg: float
    again_mmhg: float
    method: LopMethod
    limb: Limb
    side: Side
    posture: Posture
    cuff_width_cm: float
    at: datetime  # when it was measured, with its zone
    by: str  # initials of who measured it

    def record(self) -> dict[str, str | float]:
        """Flat, for the journal: the pressure never travels without where it comes from."""
        return {
            "lop_mmhg": self.mmhg,
            "lop_method": str(self.method),
            "lop_posture": str(self.posture),
            "lop_cuff_width_cm": self.cuff_width_cm,
            "lop_at": self.at.isoformat(),
            "lop_by": self.by,
        }


class Refused(Exception):
    """A prescription that is not made. `text` is a sentence for a person; value, limit, unit where a limit refused."""

    def __init__(self, text: str, value: float | None = None, limit: float | None = None, unit: str = "") -> None:
        super().__init__(text)
        self.text, self.value, self.limit, self.unit = text, value, limit, unit


def prescribe(
    protocol: Protocol,
    *,
    code: str,
    limb: Limb,
    side: Side,
    posture: Posture,
    cuff_width_cm: float,
    lop: Lop | None,
    by: str,
    now_utc: datetime,
    percent_lop: float | None = None,
    cuff: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    earlier_utc: Sequence[datetime] = (),
) -> Prescription:
    """Join a protocol, a limb and an LOP, or raise Refused.

    Args:
        code: the person's in this clinic, 1 to 12 letters, digits and hyphens; never a name.
        cuff_width_cm: the cuff that is fitted now.
        lop: None only for a protocol without a cuff.
        percent_lop: the clinician's choice within the protocol's window; None takes the protocol's default.
        cuff: from 0.
        limits: the bench's, which may be tighter than the compiled-in ones.
        earlier_utc: starts of earlier sessions of this code with this protocol that count towards its weekly limit.
    """
    check_code(code)
    check_initials(by)
    if limb not in protocol.limbs:
        raise Refused(f"{protocol.name} is for the {' or '.join(protocol.limbs)}, not for the {limb}")
    warnings = [*_code_warnings(code), *frequency_warnings(protocol, earlier_utc, now_utc)]
    if protocol.mode is Mode.NONE:
        return Prescription(code, by, cuff, CuffPlan(limb, side, nan, nan, nan), to_timeline(protocol), tuple(warnings))
    if lop is None:
        raise Refused(f"{protocol.name} needs an LOP that was measured on this limb")
    _check_width(cuff_width_cm)
    _check_lop(lop)
    _check_same_limb(lop, limb, side, cuff_width_cm)
    warnings += [*_posture_warnings(lop, posture), *_width_warnings(limb, cuff_width_cm), *_date_warnings(lop, now_utc)]
    percent = protocol.percent_lop if percent_lop is None else percent_lop
    assert percent is not None  # a protocol with a cuff has one: its loader saw to it
    _check_percent(protocol, percent)
    _check_target(protocol, lop.mmhg, percent, limits)
    _check_times(protocol, limb, limits)
    plan = CuffPlan(limb, side, float(lop.mmhg), float(percent), lop.mmhg * percent / 100.0)
    return Prescription(code, by, cuff, plan, to_timeline(protocol), tuple(warnings), tuple(lop.record().items()))


# --- who -------------------------------------------------------------------------------------------------------


def check_code(code: str) -> None:
    """Raise Refused unless this can be a person's code in this clinic and cannot be a full name."""
    if not _CODE.fullmatch(code):
        raise Refused(f"the code {code[:20]!r} must be 1 to 12 letters, digits and hyphens, a code and never a name")


def check_initials(by: str) -> None:
    """Raise Refused unless these are the initials of whoever answers for an act."""
    if not _INITIALS.fullmatch(by):
        raise Refused(f"the initials {by[:20]!r} must be 1 to 4 letters")


def _code_warnings(code: str) -> list[str]:
    if any(c.isdigit() for c in code):
        return []
    return [f"the code {code} has no digit: make sure that it is not somebody's name, it is recorded and published"]


# --- how often -------------------------------------------------------------------------------------------------


def frequency_warnings(protocol: Protocol, earlier_utc: Sequence[datetime], now_utc: datetime) -> list[str]:
    """Check the protocol's daily and weekly limits against earlier sessions. Raises Refused past it."""
    often = protocol.frequency
    if often is None or not earlier_utc:
        return []
    counted = sorted(at for at in earlier_utc if timedelta(0) <= now_utc - at < WEEK)
    week = len(counted)
    most = often.weekly_seasoned or often.weekly
    if week >= most:
        text = (
            f"{protocol.name} allows {most} sessions in seven days and this code had {week} (a session counts once its "
            f"cuff was at its target): the next may be on {_when(counted[week - most] + WEEK)}"
        )
        raise Refused(text, float(week), float(most), "sessions")
    today = [at for at in counted if now_utc - at < DAY]
    if often.daily is not None and len(today) >= often.daily:
        free_again = today[len(today) - often.daily] + DAY
        text = (
            f"{protocol.name} allows {often.daily} sessions in 24 hours and this code had {len(today)} (a session "
            f"counts once its cuff was at its target): the next may be on {_when(free_again)}"
        )
        raise Refused(text, float(len(today)), float(often.daily), "sessions")
    last = max((at for at in earlier_utc if at <= now_utc), default=None)
    since_h = (now_utc - last).total_seconds() / 3600.0 if last is not None else often.between_hours
    if last is not None and since_h < often.between_hours:
        text = (
            f"{protocol.name} asks for {often.between_hours:g} h between sessions and the last was {since_h:.1f} h ago"
            f": the next may be on {_when(last + timedelta(hours=often.between_hours))}"
        )
        raise Refused(text, round(since_h, 1), often.between_hours, "h")
    if week >= often.weekly:
        return [f"{week} sessions in seven days already: more than {often.weekly} are for seasoned people only"]
    return []


def _when(at: datetime) -> str:
    """By this machine's own zone, as the person at the bench reads a clock."""
    return f"{at.astimezone():%Y-%m-%d from %H:%M %Z}"


# --- LOP -------------------------------------------------------------------------------------------------------


def _check_width(cuff_width_cm: float) -> None:
    if not CUFF_WIDTH_MIN_CM <= cuff_width_cm <= CUFF_WIDTH_MAX_CM:
        text = (
            f"the fitted cuff's width of {cuff_width_cm:g} cm must be from {CUFF_WIDTH_MIN_CM:g} to "
            f"{CUFF_WIDTH_MAX_CM:g} cm"
        )
        limit = CUFF_WIDTH_MIN_CM if cuff_width_cm < CUFF_WIDTH_MIN_CM else CUFF_WIDTH_MAX_CM
        raise Refused(text, cuff_width_cm, limit, "cm")


def _check_lop(lop: Lop) -> None:
    check_initials(lop.by)
    if not LOP_MIN_MMHG <= lop.mmhg <= LOP_MAX_MMHG:
        text = f"an LOP of {lop.mmhg:g} mmHg must be from {LOP_MIN_MMHG:g} to {LOP_MAX_MMHG:g} mmHg: measure it again"
        raise Refused(text, lop.mmhg, LOP_MIN_MMHG if lop.mmhg < LOP_MIN_MMHG else LOP_MAX_MMHG, "mmHg")
    if lop.mmhg != lop.again_mmhg:
        text = f"the LOP was typed as {lop.mmhg:g} and as {lop.again_mmhg:g} mmHg: type the same number twice"
        if not abs(lop.mmhg - lop.again_mmhg) <= RETEST_MMHG:
            text += f"; where two measurements differ by more than {RETEST_MMHG:g} mmHg, measure again"
        raise Refused(text, lop.again_mmhg, lop.mmhg, "mmHg")


def _check_same_limb(lop: Lop, limb: Limb, side: Side, cuff_width_cm: float) -> None:
    if lop.limb is not limb or lop.side is not side:
        raise Refused(
            f"the LOP is of the {lop.side} {lop.limb} and the cuff is on the {side} {limb}: measure it on this limb"
        )
    if not abs(lop.cuff_width_cm - cuff_width_cm) <= SAME_WIDTH_CM:
        text = (
            f"the LOP was measured with a cuff of {lop.cuff_width_cm:g} cm and one of {cuff_width_cm:g} cm is fitted: "
            "measure it with this cuff"
        )
        raise Refused(text, lop.cuff_width_cm, cuff_width_cm, "cm")


def _posture_warnings(lop: Lop, posture: Posture) -> list[str]:
    """An LOP of a more upright posture is too high for this one: 80 % of a standing is over 100 % of a supine one."""
    if lop.posture.uprightness > posture.uprightness:
        raise Refused(
            f"the LOP was measured {lop.posture} and the exercise is {posture}, where LOP is lower: "
            f"measure it {posture} or lower"
        )
    if lop.posture is not posture:
        return [
            f"the LOP was measured {lop.posture} and the exercise is {posture}, where LOP is higher: "
            "the limb is restricted less than the % says"
        ]
    return []


def _width_warnings(limb: Limb, cuff_width_cm: float) -> list[str]:
    low, high = CUFF_WIDTHS_CM[limb]
    if low <= cuff_width_cm <= high:
        return []
    return [f"a cuff of {cuff_width_cm:g} cm is unusual on the {limb} ({low:g} to {high:g} cm)"]


def _date_warnings(lop: Lop, now_utc: datetime) -> list[str]:
    """A measurement in the future is none, or this machine's clock is behind, and its weekly limits with it. How old an
    LOP may be no source says: any that is not of today is named with its age, and the clinician judges [J]."""
    if not lop.at <= now_utc:
        raise Refused(
            f"the LOP is dated {lop.at:%Y-%m-%d %H:%M %Z} and this machine's clock says "
            f"{now_utc.astimezone(lop.at.tzinfo):%Y-%m-%d %H:%M %Z}: set right whichever is wrong"
        )
    days = (now_utc.astimezone(lop.at.tzinfo).date() - lop.at.date()).days
    if days == 0:
        return []
    old = "1 day" if days == 1 else f"{days} days"
    return [f"the LOP is {old} old, of {lop.at:%Y-%m-%d}: measure it again unless you know that it still holds"]


# --- target ----------------------------------------------------------------------------------------------------


def _check_percent(protocol: Protocol, percent: float) -> None:
    low, high = protocol.percent_lop_min, protocol.percent_lop_max
    assert low is not None
    assert high is not None
    if not low <= percent <= high:
        text = f"{percent:g} % of LOP must be from {low:g} to {high:g} % in {protocol.name}"
        raise Refused(text, percent, low if percent < low else high, "% of LOP")


def target_max_mmhg(limits: Limits = DEFAULT_LIMITS) -> float:
    """The highest target of a bench: 220 mmHg, in proportion lower where the bench's ceiling is lower [D]."""
    return min(TARGET_MAX_MMHG, TARGET_MAX_MMHG * limits.ceiling_mmhg / TRAINING_CEILING_MMHG)


def _check_target(protocol: Protocol, lop_mmhg: float, percent: float, limits: Limits) -> None:
    target_mmhg, most_mmhg = lop_mmhg * percent / 100.0, target_max_mmhg(limits)
    if target_mmhg <= most_mmhg:
        return
    fits = floor(10.0 * 100.0 * most_mmhg / lop_mmhg) / 10.0
    low = protocol.percent_lop_min
    assert low is not None
    largest = f"the largest % that fits is {fits:g}" if fits >= low else f"no % of its window ({low:g} and up) fits"
    text = (
        f"{percent:g} % of an LOP of {lop_mmhg:g} mmHg is a target of {target_mmhg:g} mmHg, and it must be at most "
        f"{most_mmhg:g} mmHg: {largest}"
    )
    raise Refused(text, round(target_mmhg, 1), round(most_mmhg, 1), "mmHg")


def _check_times(protocol: Protocol, limb: Limb, limits: Limits) -> None:
    """The bench's own caps, which may be tighter than those that the protocol was loaded against."""
    for plan in planned_by_exercise(protocol):
        if plan.total_s > limits.exercise_cap_s:
            text = f"{protocol.name} plans {plan} of restricted time an exercise, and this bench allows at most "
            raise Refused(f"{text}{limits.exercise_cap_s:g} s", plan.total_s, limits.exercise_cap_s, "s")
    worst_s, total = worst_on_limb(protocol)
    cap_s = limits.limb_cap_s(limb)
    if worst_s > cap_s:
        text = (
            f"{protocol.name} plans {total} of restricted time on the {limb}, and this bench allows at most {cap_s:g} s"
        )
        raise Refused(text, worst_s, cap_s, "s")
