"""The questions before a session, and what their answers come to.

Every question is answered with true (it applies) or false; a yes that the sources count as a reason not to train with a
cuff is a reason here, without weighing: a clinician weighs, and sends the answers again when they have changed. Blood
pressure is in mmHg. Sources are in the project's clinical facts, 1 and 2d: [F] read in the named source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from controller.core.model import Screening
from controller.tomlfile import convert

from .prescribe import check_code, check_initials

SYSTOLIC_MIN_MMHG, SYSTOLIC_MAX_MMHG = 100, 160  # excluded below and above [F NCT05437770]
DIASTOLIC_MAX_MMHG: Final = 110  # excluded from here on [F Nascimento 2022, with 180 systolic]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask. `key` is the key of the answers file."""

    key: str
    text: str
    source: str


_NASCIMENTO: Final = "Nascimento 2022 PMC8963452 table 5"
_TRIAL: Final = "NCT05437770"
_LISTS: Final = "scite, FitCuffs, ATS manual"
_AORN: Final = "AORN 2021"

QUESTIONS: Final = (
    Question("acute_illness", "acute myocarditis or another acute systemic illness", _NASCIMENTO),
    Question("angina", "angina or ST depression below 6 METs", _NASCIMENTO),
    Question(
        "thrombosis",
        "venous thrombosis or embolism, now or earlier, or an aortic syndrome",
        f"{_NASCIMENTO}; prior DVT {_TRIAL}",
    ),
    Question("low_ejection_fraction", "ejection fraction below 30 %", _NASCIMENTO),
    Question("heart_failure", "heart failure NYHA III or IV", _NASCIMENTO),
    Question("uncontrolled_arrhythmia", "uncontrolled arrhythmia", _NASCIMENTO),
    Question("congenital_heart_disease", "congenital heart disease", _NASCIMENTO),
    Question("revascularisation", "revascularisation", _NASCIMENTO),
    Question("peripheral_arterial_disease", "peripheral arterial or vascular disease", f"{_NASCIMENTO}; {_AORN}"),
    Question("orthostatic_drop", "standing up: a drop of 20 mmHg or more with symptoms", _NASCIMENTO),
    Question("aortic_aneurysm", "abdominal aortic aneurysm", _NASCIMENTO),
    Question("prior_cardiac_arrest", "earlier cardiac arrest", _NASCIMENTO),
    Question("varicose_veins", "varicose veins", f"article on occlusion training; marked ones {_TRIAL}"),
    Question("venous_oedema", "venous oedema", _TRIAL),
    Question("pregnancy", "pregnancy", f"article on occlusion training; {_LISTS}"),
    Question("clotting_disorder", "clotting disorder", _LISTS),
    Question("sickle_cell", "sickle cell", _LISTS),
    Question("uncontrolled_diabetes", "uncontrolled diabetes", _LISTS),
    Question("severe_hypertension", "severe or uncontrolled hypertension", _LISTS),
    Question("cancer_treatment", "cancer under treatment", _LISTS),
    Question("kidney_disease", "kidney disease", _LISTS),
    Question("recent_trauma", "recent crush injury or trauma", _LISTS),
    Question("skin_graft", "skin graft on the limb", _LISTS),
    Question("limb_infection", "infection of the limb", _LISTS),
    Question("bypass_graft", "arterial bypass graft in the limb", _AORN),
    Question("thigh_over_100_cm", "cuff on a thigh of more than 100 cm", _AORN),
)
HEART_COMPLAINTS: Final = Question(
    "heart_complaints", "heart complaints of any kind", "article on strength training with heart complaints"
)
MEDICAL_CLEARANCE: Final = Question(
    "medical_clearance",
    "cleared by a physician for this training; needed only with heart complaints, true is the good answer here",
    "the same: medical clearance first",
)
SYSTOLIC: Final = Question(
    "systolic_mmhg", "systolic blood pressure, measured today", f"above 160 or below 100: {_TRIAL}"
)
DIASTOLIC: Final = Question("diastolic_mmhg", "diastolic blood pressure, measured today", f"110 or more: {_NASCIMENTO}")


@cache
def answers_type() -> type[msgspec.Struct]:
    """The answers as a struct, built from the questions: a missing or an unknown key is refused by name."""
    code = Annotated[
        str, Meta(min_length=1, max_length=40, description="the person's code in this clinic, never a name")
    ]
    yes_or_no = [
        (q.key, Annotated[bool, Meta(description=f"{q.text} ({q.source})")])
        for q in (*QUESTIONS, HEART_COMPLAINTS, MEDICAL_CLEARANCE)
    ]
    pressures = [
        (q.key, Annotated[int, Meta(ge=low, le=high, description=f"{q.text} ({q.source})")])
        for q, low, high in ((SYSTOLIC, 40, 300), (DIASTOLIC, 20, 200))
    ]
    return msgspec.defstruct(
        "Answers", [("code", code), *yes_or_no, *pressures], frozen=True, forbid_unknown_fields=True
    )


def screen(answers: Mapping[str, Any], by: str, source: str = "answers") -> Screening:
    """What the answers come to: cleared, or the reasons why not.

    Raises BadInput for a question that is missing, unknown or not answered with true or false; Refused for a code or
    initials that cannot be those.
    """
    answered = msgspec.structs.asdict(convert(dict(answers), answers_type(), source))
    check_code(answered["code"])
    check_initials(by)
    reasons = [question.text for question in QUESTIONS if answered[question.key]]
    if answered[HEART_COMPLAINTS.key] and not answered[MEDICAL_CLEARANCE.key]:
        reasons.append("heart complaints without a physician's clearance")
    systolic, diastolic = answered[SYSTOLIC.key], answered[DIASTOLIC.key]
    if diastolic >= systolic:
        reasons.append(f"blood pressure of {systolic} over {diastolic} mmHg, which cannot be: are they swapped?")
    if not SYSTOLIC_MIN_MMHG <= systolic <= SYSTOLIC_MAX_MMHG:
        reasons.append(
            f"systolic blood pressure of {systolic} mmHg, outside {SYSTOLIC_MIN_MMHG} to {SYSTOLIC_MAX_MMHG}"
        )
    if diastolic >= DIASTOLIC_MAX_MMHG:
        reasons.append(f"diastolic blood pressure of {diastolic} mmHg, {DIASTOLIC_MAX_MMHG} or more")
    return Screening(answered["code"], by, not reasons, tuple(reasons))


def template() -> str:
    """The answers file to fill in. As it stands it answers nothing and is refused."""
    lines = [
        "# The questions before a session. Answer each with true (it applies) or false, in the room, for this person.",
        "# They hold for one session: ask again before the next.",
        '# A question still marked "?" is refused. No name or birth date in here: the code is enough.',
        "# Hand in with: manchet screen --answers FILE --by INITIALS",
        "",
        'code = "?" # the person\'s in this clinic, the same every time; as in `manchet prescribe --code`',
        "",
    ]
    questions = (*QUESTIONS, HEART_COMPLAINTS, MEDICAL_CLEARANCE, SYSTOLIC, DIASTOLIC)
    lines += [f'{question.key} = "?" # {question.text} ({question.source})' for question in questions]
    return "\n".join(lines) + "\n"
