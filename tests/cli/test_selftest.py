"""`manchet selftest`: what it follows, what it asks, what it prints, and how it ends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from controller.cli import selftest
from controller.cli.app import execute
from controller.cli.selftest import limit_words

ROW: dict[str, Any] = {
    "kind": "selftest_row", "row": "vent", "cuff": 1, "figure": "vent valve alone", "value": 2.1, "low": 0.0,
    "high": 5.0, "unit": "s", "verdict": "passed", "text": "",
}  # fmt: skip
BROKEN = ROW | {"row": "dump", "value": None, "verdict": "failed", "text": "stuck [or] narrow: replace it"}
SKIPPED = ROW | {"row": "leak", "value": None, "verdict": "not done"}


def ended(outcome: str) -> dict[str, Any]:
    return {"kind": "selftest_ended", "cuff": None, "outcome": outcome, "rows": 2, "passed": 1, "text": "so it is"}


def told(*events: dict[str, Any]) -> dict[str, Any]:
    return {"type": "selftest", "told": list(events)}


def seen(phase: str = "testing", waiting_for: str = "") -> dict[str, Any]:
    return {"type": "snapshot", "phase": phase, "waiting_for": waiting_for}


def test_a_test_that_passes(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("idle"), seen(), told(ROW | {"value": 9.0, "verdict": "failed"}), told(ROW, ended("passed"))]
    assert execute(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert "vent valve alone" in out
    assert "2.1 s" in out
    assert "9" not in out, "the last word on a row stands"
    assert out.rstrip().endswith("self-test passed: so it is")
    assert err == "manchet: heard\n"
    assert [one["verb"] for one in bench.told] == ["watch", "selftest"]


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
def test_a_test_that_does_not(outcome: str, bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("idle"), told(ROW), told(BROKEN, SKIPPED, ended(outcome))]
    assert execute(["selftest"]) == 1
    out, _ = capsys.readouterr()
    assert "cuff 1: vent valve alone: stuck [or] narrow: replace it" in out
    assert "not done" in out
    assert out.rstrip().endswith(f"self-test {outcome}: so it is")


def test_as_json(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("idle"), told(ROW, BROKEN, ended("failed"))]
    assert execute(["selftest", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["verb"], said["outcome"], said["text"]) == (False, "selftest", "failed", "so it is")
    assert [row["row"] for row in said["rows"]] == ["vent", "dump"]
    assert "kind" not in said["rows"][0]


def test_a_bench_that_refuses(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("working")]
    bench.answers["selftest"] = {"ok": False, "phase": "working", "text": "not while working: stop first"}
    assert execute(["selftest"]) == 1
    assert capsys.readouterr().err == "manchet: not while working: stop first\n"


def test_no_bench_and_one_that_hangs_up(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["selftest", "--bench", "b2"]) == 3
    bench.shown = [seen("idle"), seen()]
    bench._over.set()
    assert execute(["selftest"]) == 4
    assert "hung up before its self-test was over" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


HEARD = {"ok": True, "phase": "testing", "text": "heard"}


class Turns(dict[str, Any]):
    """One answer after the other, whatever the verb."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        super().__init__()
        self._left = iter(answers)

    def get(self, _verb: str, _default: Any = None) -> Any:
        return next(self._left)


QUESTION = "which cuff filled: 1, 2 or none"


def test_a_person_at_a_terminal_is_asked_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("2\n\n"))
    bench.shown = [
        seen("idle"),
        *[seen("testing", QUESTION)] * 3,
        seen(),
        seen("testing", QUESTION),
        told(ended("failed")),
    ]
    assert execute(["selftest"]) == 1
    answers = [one["confirm"] for one in bench.told if "confirm" in one]
    assert answers == ["2", "none"], "a person who says nothing has seen none fill"
    assert capsys.readouterr().err.count(QUESTION) == 2


def test_a_person_whose_words_are_none_of_the_answers_is_asked_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("xyz\n" * 3 + "2\n"))
    bench.shown = [seen("idle"), seen("testing", QUESTION), told(ended("passed"))]
    refusal = {"ok": False, "phase": "testing", "text": f"xyz is none of the answers, say again: {QUESTION}"}
    bench.answers = Turns([HEARD, refusal, refusal, refusal, HEARD])
    assert execute(["selftest"]) == 0
    assert [one["confirm"] for one in bench.told if "confirm" in one] == ["xyz"] * 3 + ["2"]
    assert capsys.readouterr().err.count("none of the answers") == 3


def test_the_end_of_a_terminal_is_no_answer(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-D, or a terminal that was closed: nobody has said that they saw none fill."""
    monkeypatch.setattr("sys.stdin", Terminal(""))
    bench.shown = [seen("idle"), seen("testing", QUESTION)]
    assert execute(["selftest"]) == 1
    assert [one for one in bench.told if "confirm" in one] == []
    assert bench.told[-1]["verb"] == "stop"
    assert capsys.readouterr().err.endswith("manchet: broken off: the bench was told to stop\n")


def test_without_a_terminal_it_says_how_to_answer(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("idle"), seen("testing", QUESTION), told(ended("failed"))]
    assert execute(["selftest"]) == 1
    assert "manchet selftest --confirm WHICH" in capsys.readouterr().err
    assert not [one for one in bench.told if "confirm" in one]


def test_what_another_phase_waits_for_is_no_question(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [seen("ready", "start"), seen(), told(ended("passed"))]
    assert execute(["selftest"]) == 0
    assert "start" not in capsys.readouterr().err


def test_an_answer_from_elsewhere(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["selftest", "--confirm", "left leg"]) == 0
    assert bench.told == [{"confirm": "left leg", "id": 1, "verb": "selftest"}]
    assert capsys.readouterr().out == "heard\n"
    bench.answers["selftest"] = {"ok": False, "phase": "stopping", "text": "that is not the cuff"}
    assert execute(["selftest", "--confirm", "1"]) == 1


def test_whoever_breaks_it_off_stops_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(selftest, "_answer", broken_off)
    bench.shown = [seen("idle"), seen("testing", QUESTION)]
    assert execute(["selftest"]) == 1
    assert bench.told[-1]["verb"] == "stop"
    assert capsys.readouterr().err.endswith("manchet: broken off: the bench was told to stop\n")


def test_a_button_that_nobody_presses(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "BEGINS_WITHIN_S", -1.0)
    bench.shown = [seen("idle"), seen("idle")]
    assert execute(["selftest"]) == 1
    assert "nobody pressed the button" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "unit", "words"),
    [
        (None, 6.0, "mmHg/min", "at most 6 mmHg/min"),
        (20.0, None, "mmHg", "at least 20 mmHg"),
        (1.0, 1.0, "", "1"),
        (-10.0, 10.0, "mmHg", "± 10 mmHg"),
        (0.0, 5.0, "s", "at most 5 s"),
        (0.15, 3.6, "s", "0.15 to 3.6 s"),
    ],
)
def test_a_limit_in_words(low: float | None, high: float | None, unit: str, words: str) -> None:
    assert limit_words({"low": low, "high": high, "unit": unit}) == words


# --- simulated -------------------------------------------------------------------------------------------------------


def test_simulated_and_failed_is_a_simulation_that_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", "--selftest", "--fault", "a_off_zero@testing"]) == 0
    out, err = capsys.readouterr()
    assert "furthest from zero while vented" in out
    assert "manchet zero" in out
    assert err == ""


def test_simulated_says_a_defect_that_it_never_came_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", "--selftest", "--fault", "vent_stuck_closed@working"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("self-test passed\n")
    assert err == "manchet: the fault vent_stuck_closed@working#1 never took place: it was over before that\n"


def test_simulated_says_the_trip_in_its_last_line_and_which_guard_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", "--selftest", "--guard", "pico", "--fault", "guard_hung@testing+3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "simulated bench and limb, guard pico, seed 1"
    assert lines[-1].startswith("self-test failed: the guard has said nothing for more than 250 ms")
    assert lines[-1].endswith("(guard_lost)")
    assert not [line for line in lines if "sensors' cables" in line]


def test_simulated_and_passed_says_so_in_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", "--selftest"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "self-test passed"


def test_simulated_as_json_with_somebody_prescribed_for(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["simulate", "bfr-30-15-15-15", "--selftest", "--json", "--fault", "tube_kinked@testing"]
    assert execute(command) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    said = json.loads(out)
    assert (said["outcome"], said["guard"]) == ("failed", "gpio")
    assert [row["row"] for row in said["rows"] if row["verdict"] == "failed"] == ["fills"]
    assert said["restricted_s"] == [pytest.approx(0.0, abs=1.0)]


def test_simulated_with_what_nobody_may_prescribe(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", "bfr-30-15-15-15", "--selftest", "--percent-lop", "99"]) == 2
    assert capsys.readouterr().out == ""
