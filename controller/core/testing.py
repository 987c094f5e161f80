"""The self-test as the session lives it: who may begin one, what the rules are told of it, and what is left of it.

The sequence is `selftest.py`; here it meets phases, limbs, events and the guard's orders. Works on the fork of the
session that `step.py` made. Imports the core only; mmHg and seconds.
"""

from __future__ import annotations

from math import inf, isfinite, nan
from typing import Final

from . import selftest, selftest_stages
from .limits import (
    ARMED_LOP_MARGIN_MMHG,
    LIMB_CAP_S,
    SELFTEST_CEILING_MMHG,
    SELFTEST_RESTRICTED_S,
    SELFTEST_VALID_S,
    Limits,
    armed_ceiling_mmhg,
)
from .model import (
    TESTING,
    Arm,
    CuffDemand,
    CuffWatch,
    EventKind,
    Finding,
    GuardOrder,
    GuardState,
    Limb,
    Mode,
    Scalar,
    Side,
    Watch,
)
from .phases import Event
from .selftest import Look, SelfTest, Stage, Subject
from .selftest_rows import Outcome, Proof
from .session_state import SessionState

NO_LOP_MMHG: Final = SELFTEST_CEILING_MMHG - ARMED_LOP_MARGIN_MMHG  # what a cuff without a prescription is held to
_VENTED_STAGES: Final = frozenset({Stage.EMPTY, Stage.DISARM, Stage.CONFIRM})


def why_not(s: SessionState, limits: Limits) -> str:
    """Why no self-test may press on what the cuffs are on; "" where one may."""
    if s.past_unknown:
        return "what the cuffs did before is not known: leave them empty for 180 s first"
    for cuff in range(len(s.prescriptions)):
        used_s, cap_s = _restricted_s(s, cuff), limits.limb_cap_s(_limb(s, cuff))
        if not used_s + SELFTEST_RESTRICTED_S <= cap_s:
            return (
                f"cuff {cuff + 1}: its limb has been restricted for {used_s:.0f} s and a self-test may take "
                f"{SELFTEST_RESTRICTED_S:g} s more, above {cap_s:.0f} s: leave the cuff empty for 180 s first"
            )
    return ""


def begin(s: SessionState, limits: Limits, now_s: float) -> None:
    """By a person, from IDLE or READY, every cuff measured empty."""
    subjects = []
    for cuff, prescription in enumerate(s.prescriptions):
        words = str(cuff + 1) if prescription is None else f"{prescription.plan.side} {prescription.plan.limb}"
        lop_mmhg = (
            inf if prescription is None or prescription.timeline.mode is Mode.NONE else prescription.plan.lop_mmhg
        )
        subjects.append(Subject(selftest.leak_mmhg(lop_mmhg, limits.ceiling_mmhg), words))
    s.go(Event.TEST, now_s)
    s.test = selftest.begin(tuple(subjects))
    s.test_passed_at_s, s.test_failed = nan, None


def live(s: SessionState, look: Look, now_s: float) -> tuple[CuffDemand, ...]:
    """One tick of it, in TESTING. What has come of it is for `judged`, once the rules have had their say."""
    assert s.test is not None  # `begin` came before the phase
    before = s.test
    t = s.test = selftest.fork(before)
    demand = selftest_stages.step(t, look)
    if t.stage is not before.stage:
        s.test_stage_at_s = now_s
    return demand


def judged(s: SessionState, before: SelfTest, finding: Finding | None, now_s: float) -> None:
    """The end of that tick: rows are told, and the test may be over. `finding`: the rule that tripped in it, whose
    reason comes before whatever row failed of the same cause; None where none did."""
    if s.phase is not TESTING:
        if finding is not None:
            s.test = before
        else:
            _tell_rows(s, before.proofs, now_s)
        broken_off(s, finding, now_s)
        return
    assert s.test is not None
    _tell_rows(s, before.proofs, now_s)
    if s.test.over:
        _over(s, "passed" if s.test.passed else "failed", now_s)
        s.go(Event.TEST_OVER, now_s)


def answer(s: SessionState, words: str, now_s: float) -> bool:
    """What a person says to `question`; whether it was right."""
    assert s.test is not None  # it waits
    before = s.test
    s.test = selftest.fork(before)
    right = selftest.answer(s.test, words)
    _tell_rows(s, before.proofs, now_s)
    return right


def broken_off(s: SessionState, finding: Finding | None, now_s: float) -> None:
    """The phase is over and the test is not: a trip, whose finding is the row's, a stop, or a limit that ended it."""
    assert s.test is not None
    if finding is None:
        _over(s, "stopped", now_s)
        return
    before = s.test
    s.test = selftest.fork(before)
    selftest.tripped(s.test, finding.rule, finding.cuff, finding.text)
    _tell_rows(s, before.proofs, now_s)
    _over(s, "failed", now_s, finding)


def _over(s: SessionState, outcome: str, now_s: float, trip: Finding | None = None) -> None:
    assert s.test is not None
    rows = selftest.table(s.test)
    for proof in rows:
        if proof.outcome is Outcome.NOT_DONE:
            _tell(s, proof, now_s)
    failed = [one for one in rows if one.outcome is Outcome.FAILED]
    s.test = None
    if outcome == "passed":
        s.test_passed_at_s = now_s
        text = "self-test passed"
    elif failed:
        first = failed[0]
        where = f"cuff {first.cuff + 1}: " if first.cuff >= 0 else ""
        text = f"self-test failed: {where}{first.kind.figure}: {first.text}"
        if trip is not None:
            text = f"self-test failed: {trip.text} ({trip.rule})"
        limit = first.kind.high if isfinite(first.kind.high) else first.kind.low
        s.test_failed = Finding("selftest_failed", first.cuff, first.value, limit, first.kind.unit, text, now_s)
    else:
        text = "self-test stopped before it was over"
    passed = sum(one.outcome is Outcome.PASSED for one in rows)
    s.tell(EventKind.SELFTEST_ENDED, now_s, outcome=outcome, rows=len(rows), passed=passed, text=text)


def _tell_rows(s: SessionState, before: tuple[Proof, ...], now_s: float) -> None:
    if s.test is not None and s.test.proofs is not before:
        for proof in s.test.proofs:
            if proof not in before:
                _tell(s, proof, now_s)


def _tell(s: SessionState, proof: Proof, now_s: float) -> None:
    kind = proof.kind
    data: dict[str, Scalar] = {
        "row": proof.row,
        "figure": kind.figure,
        "value": round(proof.value, 3) if isfinite(proof.value) else None,
        "low": kind.low if isfinite(kind.low) else None,
        "high": kind.high if isfinite(kind.high) else None,
        "unit": kind.unit,
        "verdict": str(proof.outcome),
        "text": proof.text,
    }
    s.tell(EventKind.SELFTEST_ROW, now_s, None if proof.cuff < 0 else proof.cuff, **data)


def answers(s: SessionState) -> tuple[str, ...]:
    """What a person may say, () when nothing is asked. The last one is `none`."""
    if s.test is None or not s.test.waits:
        return ()
    if s.prescriptions[s.test.cuff] is not None:
        return (*[f"{side} {limb}" for limb in Limb for side in Side], "none")
    return (*[str(cuff + 1) for cuff in range(len(s.prescriptions))], "none")


def question(s: SessionState) -> str:
    """What a person is asked, "" when nothing. It does not say what the right answer is."""
    *cuffs, none = answers(s) or ("",)
    return f"which cuff filled: {', '.join(cuffs)} or {none}" if cuffs else ""


def order(s: SessionState, guard: GuardState) -> GuardOrder:
    """What the guard should be told."""
    t = s.test
    if t is None:  # over in this very tick
        return GuardOrder.NONE
    if t.prove:
        return GuardOrder.PROVE_REFUSAL
    if t.stage is Stage.ARM:
        return GuardOrder.ARM if guard is GuardState.VENTED else GuardOrder.NONE
    return GuardOrder.DISARM if guard is GuardState.ARMED and not t.wants_armed else GuardOrder.NONE


def arm(s: SessionState) -> Arm:
    """For the cuff under test alone."""
    ceilings, left = [], []
    for cuff in range(len(s.prescriptions)):
        under_test = s.test is not None and s.test.cuff == cuff
        ceilings.append(armed_ceiling_mmhg(_lop_mmhg(s, cuff)) if under_test else 0.0)
        left.append(SELFTEST_RESTRICTED_S if under_test else 0.0)
    return Arm(tuple(ceilings), tuple(left))


def watch(s: SessionState, limits: Limits) -> Watch:
    """What the rules are told: the cuff under test is in use, any other is not and must be vented."""
    t = s.test
    cuffs: list[CuffWatch | None] = []
    for cuff in range(len(s.prescriptions)):
        if t is None or t.cuff != cuff:
            cuffs.append(None)
            continue
        limb = _limb(s, cuff)
        cap_s = min(limits.limb_cap_s(limb), LIMB_CAP_S[limb])
        cuffs.append(CuffWatch(limb, _lop_mmhg(s, cuff), nan, _restricted_s(s, cuff), cap_s, 0.0, inf))
    due_s = s.test_stage_at_s if t is not None and t.stage in _VENTED_STAGES else nan
    return Watch(TESTING, s.phase_since_s, tuple(cuffs), release_due_at_s=due_s)


def untested(s: SessionState, required: bool, now_s: float) -> str:
    """Why the bench is not READY as far as its self-test goes; "" when it is."""
    if s.test_failed is not None:
        return f"{s.test_failed.text}; then `manchet selftest`"
    if not required or now_s - s.test_passed_at_s < SELFTEST_VALID_S:
        return ""
    if isfinite(s.test_passed_at_s):
        return f"the self-test was passed more than {SELFTEST_VALID_S / 3600:g} h ago: `manchet selftest`"
    return "no self-test has been passed since bench and guard were switched on: `manchet selftest`"


# --- the limb under it -------------------------------------------------------------------------------------------


def _limb(s: SessionState, cuff: int) -> Limb:
    """Whatever the cuff is on; an arm, whose cap is the lower one, where nobody said."""
    prescription, limb = s.prescriptions[cuff], s.limbs[cuff]
    if prescription is not None:
        return prescription.plan.limb
    return Limb.ARM if limb is None else limb[1]


def _lop_mmhg(s: SessionState, cuff: int) -> float:
    prescription = s.prescriptions[cuff]
    return NO_LOP_MMHG if prescription is None else min(NO_LOP_MMHG, prescription.plan.lop_mmhg)


def _restricted_s(s: SessionState, cuff: int) -> float:
    """Of the limb this cuff was put on last; where nobody said, of the one that has had the most."""
    clock = s.clock_of(cuff)
    if clock is not None:
        return clock.restricted_s
    return max([one.restricted_s for one in s.clocks.values()], default=0.0) + s.nobodys_s
