"""The rows of a self-test: what each proves, within which limits, and what to do about one that fails.

Imports the core only; mmHg and seconds. [J] is this project's judgement, [F] read in the named source.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import Final

from .limits import RELEASE_TIMEOUT_S, SENSORS_APART_MMHG
from .model import value

ZERO_MMHG: Final = 10.0  # [J] a vented sensor further from zero than this is not fit for a session
ARM_S: Final = 2.0  # [J] a guard that has not armed by then will not
OWN_LEAST_MMHG: Final = 20.0  # [J] of 30: what the other of the two own sensors must show
OTHERS_MMHG: Final = 8.0  # [J] what a neighbour may move by
KEEP_LOSS_MMHG: Final = 5.0  # [J] an open valve loses 10 of 30 mmHg and more in that time
KEEP_RISE_MMHG: Final = 10.0  # [J] a pump may coast for that much; one that runs on adds 15 and more in a second
RISE_LEAST_S: Final = 0.15  # [J] 150 mL and 4 L/min take 0.4 s
RISE_MOST_S: Final = 3.6  # [J] 800 mL and 1.5 L/min take 2.7 s
SWITCH_RISE_MMHG: Final = 4.0  # [J] a pulse moves a cuff by 1 or 2; a pump by 15 and more in a second
VENT_S: Final = RELEASE_TIMEOUT_S
LEAK_MMHG_MIN: Final = 6.0  # [F Mindray T5 service; R16-2: at 250 mmHg, 60 s, after 5 s]


class Outcome(StrEnum):
    """Of one row."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_DONE = "not done"


@value
class RowKind:
    """What one row proves. A figure within low..high passes; the advice is for one that does not."""

    figure: str
    unit: str
    low: float
    high: float
    advice: str


ROWS: Final[dict[str, RowKind]] = {
    # of the bench
    "estop": RowKind("E-stop loop whole", "", 1.0, 1.0, "release the stop, check its wire and plug"),
    # of a cuff, vented
    "sensors": RowKind("sensors A and B that answer", "", 2.0, 2.0, "check the sensors' cables and addresses"),
    "agree": RowKind("A and B apart while vented", "mmHg", 0.0, SENSORS_APART_MMHG, "zero both: `manchet zero`"),
    "zero": RowKind("furthest from zero while vented", "mmHg", -ZERO_MMHG, ZERO_MMHG, "zero it: `manchet zero`"),
    # of the bench again: the guard
    "refusal": RowKind(
        "over-long leases refused by the guard, of 1", "", 1.0, 1.0, "do not use this guard: flash or install it anew"
    ),
    # of a cuff, under pressure
    "arms": RowKind("guard armed for this cuff alone", "s", 0.0, ARM_S, "look at the guard's log and its sensor B"),
    "fills": RowKind(
        "lower of its own A and B, filled to 30 mmHg", "mmHg", OWN_LEAST_MMHG, inf,
        "check tube (kinked, off), valves (open), pump, and that A and B are this cuff's own",
    ),
    "alone": RowKind(
        "what any other cuff moved meanwhile", "mmHg", -OTHERS_MMHG, OTHERS_MMHG,
        "tubes or sensors of the cuffs are exchanged: put each on its own channel",
    ),
    "closes": RowKind(
        "lost in 1 s with both valves closed", "mmHg", -KEEP_RISE_MMHG, KEEP_LOSS_MMHG,
        "a valve stays open or the tube is off; where it rose, the pump runs though switched off",
    ),
    "confirmed": RowKind(
        "a person saw this cuff fill", "", 1.0, 1.0, "put the cuff on the limb that is prescribed, on its own coupling"
    ),
    "rise": RowKind(
        "pump, from 20 to 60 mmHg", "s", RISE_LEAST_S, RISE_MOST_S, "pump weak or leaking, cuff too large or too small"
    ),
    "pwm_alone": RowKind(
        "rise with the pump's PWM alone", "mmHg", -inf, SWITCH_RISE_MMHG, "the enable switch conducts: replace it"
    ),
    "enable_alone": RowKind(
        "rise with the pump's enable alone", "mmHg", -inf, SWITCH_RISE_MMHG, "the PWM switch conducts: replace it"
    ),
    "dump": RowKind(
        "dump valve alone, 220 to 15 mmHg, extrapolated", "s", 0.0, VENT_S, "dump valve stuck or narrow: replace it"
    ),
    "vent": RowKind(
        "vent valve alone, 220 to 15 mmHg, extrapolated", "s", 0.0, VENT_S, "vent valve stuck or narrow: replace it"
    ),
    "leak": RowKind(
        "leak at 150 mmHg, creep taken off", "mmHg/min", -inf, LEAK_MMHG_MIN, "find the leak: couplings, tube, bladder"
    ),
}  # fmt: skip


@value
class Proof:
    """One row of the table, judged."""

    row: str
    cuff: int  # from 0; -1 for the bench
    value: float  # NaN: not measured
    outcome: Outcome
    text: str = ""  # why it failed and what to do; "" where it did not

    @property
    def kind(self) -> RowKind:
        return ROWS[self.row]


# In which order they are come to, by cuff; `alone` only where there is another cuff.
LOOKED_AT: Final = ("sensors", "agree", "zero")
SHOWN_ALONE: Final = ("arms", "fills", "alone", "closes", "confirmed")
PROVEN: Final = ("rise", "pwm_alone", "enable_alone", "dump", "vent", "leak")
