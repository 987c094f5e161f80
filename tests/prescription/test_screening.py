"""Screening: every question is answered, and any reason that the sources name keeps a session from being cleared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.prescription.prescribe import Refused
from controller.prescription.screening import QUESTIONS, screen
from controller.tomlfile import BadInput, read

TEMPLATE = Path(__file__).resolve().parents[2] / "config/screening-template.toml"


def healthy(**changes: Any) -> dict[str, Any]:
    no = {question.key: False for question in QUESTIONS} | {"heart_complaints": False, "medical_clearance": False}
    return {"code": "K7-031", **no, "systolic_mmhg": 120, "diastolic_mmhg": 80} | changes


@pytest.mark.parametrize("key", [*healthy()])
def test_every_question_must_be_answered(key: str) -> None:
    answers = healthy()
    del answers[key]
    with pytest.raises(BadInput, match=rf"^answers: {key}: must be given"):
        screen(answers, "AB")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"pregnant": True}, "answers: pregnant = true: must be left out: unknown key (did you mean pregnancy?)"),
        ({"pregnancy": "no"}, 'answers: pregnancy = "no": must be true or false'),
        ({"pregnancy": 0}, "answers: pregnancy = 0: must be true or false"),
        ({"systolic_mmhg": 12}, "answers: systolic_mmhg = 12: must be a whole number from 40 to 300 mmHg"),
        ({"systolic_mmhg": float("nan")}, "answers: systolic_mmhg = nan: must be a whole number"),
        ({"diastolic_mmhg": True}, "answers: diastolic_mmhg = true: must be a whole number"),
    ],
)
def test_a_bad_answer_is_one_line(change: dict[str, Any], line: str) -> None:
    with pytest.raises(BadInput) as caught:
        screen(healthy(**change), "AB")
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_each_yes_is_a_reason(question: Any) -> None:
    result = screen(healthy(**{question.key: True}), "AB")
    assert not result.cleared
    assert result.reasons == (question.text,)
    assert question.source


def test_nothing_found_is_cleared() -> None:
    result = screen(healthy(), "AB")
    assert (result.code, result.by, result.cleared, result.reasons) == ("K7-031", "AB", True, ())


def test_heart_complaints_need_medical_clearance() -> None:
    assert not screen(healthy(heart_complaints=True), "AB").cleared
    assert screen(healthy(heart_complaints=True, medical_clearance=True), "AB").cleared
    assert not screen(healthy(angina=True, medical_clearance=True), "AB").cleared


@pytest.mark.parametrize(
    ("systolic", "diastolic", "cleared"),
    [(100, 80, True), (160, 109, True), (99, 80, False), (161, 80, False), (120, 110, False), (105, 108, False)],
)
def test_blood_pressure_has_bounds(systolic: int, diastolic: int, cleared: bool) -> None:
    assert screen(healthy(systolic_mmhg=systolic, diastolic_mmhg=diastolic), "AB").cleared is cleared


@pytest.mark.parametrize(("code", "by"), [("Jan de Vries", "AB"), ("K1", ""), ("K1", "Doctor")])
def test_code_and_initials_are_checked(code: str, by: str) -> None:
    with pytest.raises(Refused):
        screen(healthy(code=code), by)


def test_the_conditions_of_the_articles_are_asked_for() -> None:
    keys = {question.key for question in QUESTIONS}
    assert {"varicose_veins", "thrombosis", "pregnancy"} <= keys


def test_the_template_as_it_stands_is_refused() -> None:
    with pytest.raises(BadInput, match='answers: acute_illness = "\\?": must be true or false'):
        screen(read(TEMPLATE), "AB")


def test_the_template_filled_in_clears_from_toml_and_json(tmp_path: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8").replace('code = "?"', 'code = "K7-031"')
    text = text.replace('systolic_mmhg = "?"', "systolic_mmhg = 120").replace(
        'diastolic_mmhg = "?"', "diastolic_mmhg = 80"
    )
    (tmp_path / "answers.toml").write_text(text.replace('= "?"', "= false"), encoding="utf-8")
    (tmp_path / "answers.json").write_text(json.dumps(healthy()), encoding="utf-8")
    for name in ("answers.toml", "answers.json"):
        assert screen(read(tmp_path / name), "AB", name).cleared
