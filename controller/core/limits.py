"""Hard limits, compiled in. A bench's settings may only tighten them (`Limits`); nothing widens them.

Sources: [F] read in the named source, [K] general knowledge, [D] derived, [J] this project's judgement; the sentences
behind each are in `../SAFETY.md`. Units are in the names.
"""

from __future__ import annotations

from typing import Final

from .model import Limb, value

# Pressure
ABSOLUTE_CEILING_MMHG: Final = 330.0  # single fault, independent means; NIBP practice [F hospital check sheet, K]
LOP_SEARCH_CEILING_MMHG: Final = 300.0  # never above in an LOP search [F Loenneke method]
TRAINING_CEILING_MMHG: Final = 250.0  # [J] above any permitted target plus a swing
ARMED_CEILING_MMHG: Final = 260.0  # [J] the guard's, when armed: the lower of this and LOP + margin
ARMED_LOP_MARGIN_MMHG: Final = 20.0  # [J]
TARGET_MAX_MMHG: Final = 220.0  # [J] so that a 10 % swing stays under the ceiling
LOP_MIN_MMHG: Final = 80.0  # [J] below it the measurement is not believed
LOP_MAX_MMHG: Final = 330.0  # [J]
EMPTY_MMHG: Final = 15.0  # deflated, as NIBP practice counts it [K]
EMPTY_CONFIRM_S: Final = 0.5
BOOT_ALARM_MMHG: Final = 50.0  # [F Zimmer 750 detects this at power-up]
IMPLAUSIBLE_LOW_MMHG: Final = -20.0
IMPLAUSIBLE_STEP_MMHG: Final = 50.0
IMPLAUSIBLE_SLEW_MMHG_S: Final = 5000.0  # 5 mmHg per ms

# Time on a limb
EXERCISE_CAP_S: Final = 480.0  # 8 min [D from Forge, Patterson: 5-10 min an exercise]
EXERCISE_CAP_MAX_S: Final = 600.0  # 10 min, only where a protocol says so with its source
LIMB_CAP_S: Final = {Limb.ARM: 900.0, Limb.LEG: 1200.0}  # 15 and 20 min [F VALD 665, SmartCuffs]
REPERFUSION_S: Final = 180.0  # 3 min below 15 mmHg clears the limb's clock [F VALD]
HOLD_ATTENDED_S: Final = 150.0  # [J] a hold asks for a sign of the supervisor this often
PAUSE_MAX_S: Final = 300.0
UNATTENDED_S: Final = 60.0
REST_MAX_S: Final = 60.0  # rests are 30-60 s [F FitCuffs, Forge]
REST_MIN_S: Final = 30.0
FREE_FLOW_MIN_S: Final = 10.0  # [J] fewer seconds of free flow than this stretch the rest
INFLATION_CUE_S: Final = 3.0
LEAD_IN_S: Final = 3.0  # [J] at target before the first repetition
INFLATION_PLANNED_S: Final = 30.0  # what a plan takes one inflation as, for the sum of restricted time

# Machine
SENSORS_APART_MMHG: Final = 10.0  # [J] A and B with pump and vent off: twice the sensors' error after zeroing
INTER_EXERCISE_S: Final = 60.0  # below 15 mmHg between two exercises [F FitCuffs: > 1 min]
STALE_SAMPLE_S: Final = 0.1
TICK_LATE_S: Final = 0.1
GUARD_SILENT_S: Final = 0.25
LEASE_MS: Final = 250
PUMP_MAX_S: Final = 40.0
PUMP_PAUSE_S: Final = 0.5
INFLATE_TIMEOUT_S: Final = 30.0  # [F Zimmer precedent]
RELEASE_TIMEOUT_S: Final = 5.0
LEAK_TOPPING_S: Final = 7.0  # continuous topping up [F Delfi, Zimmer: 7-9 s]
SELFTEST_CEILING_MMHG: Final = 200.0  # [J] of a self-test, armed at the guard too: its highest pressure is 150
SELFTEST_RESTRICTED_S: Final = 300.0  # [J] the most that a self-test may restrict a limb, armed at the guard too
SCREENING_VALID_S: Final = 43_200.0  # [J] its blood pressure and its questions are of today
SELFTEST_VALID_S: Final = 86_400.0  # [J] a bench that wants a self-test wants one a day
AUDIO_PAUSE_S: Final = 30.0  # [F Delfi, Zimmer]

_LEG: Final = Limb.LEG


@value
class Limits:
    """What a bench may tighten. Never built with a value looser than the compiled-in one (`settings` refuses it)."""

    ceiling_mmhg: float = TRAINING_CEILING_MMHG
    limb_cap_arm_s: float = LIMB_CAP_S[Limb.ARM]
    limb_cap_leg_s: float = LIMB_CAP_S[Limb.LEG]
    exercise_cap_s: float = EXERCISE_CAP_MAX_S  # the protocol's own cap applies below this
    sensor_low_mmhg: float = IMPLAUSIBLE_LOW_MMHG  # the scale of sensor A, minus what is implausible anyway
    sensor_high_mmhg: float = 345.0

    def limb_cap_s(self, limb: Limb) -> float:
        return self.limb_cap_leg_s if limb is _LEG else self.limb_cap_arm_s


DEFAULT_LIMITS: Final = Limits()


def armed_ceiling_mmhg(lop_mmhg: float) -> float:
    """The ceiling that ARM carries for a cuff, mmHg."""
    return min(ARMED_CEILING_MMHG, lop_mmhg + ARMED_LOP_MARGIN_MMHG)
