"""From what arrives at the command socket to the core's commands: what is refused at the door, and in which words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.core.limits import DEFAULT_LIMITS
from controller.core.model import VENTED, Command, EventKind, Happened, Outputs, Phase, Reply, Verb
from controller.orders import Orders
from controller.prescription.screening import HEART_COMPLAINTS, MEDICAL_CLEARANCE, QUESTIONS

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOLD = {"ok", "verb", "phase", "text", "value", "limit", "unit"}
SHORT = Path(__file__).parent / "faults" / "short.toml"
ASKED: dict[str, Any] = {
    "protocol": str(SHORT), "code": "S-1", "limb": "leg", "side": "right", "posture": "supine", "cuff_width_cm": 13.5,
    "lop_mmhg": 187.0, "lop_again_mmhg": 187.0, "lop_method": "doppler", "lop_posture": "supine",
    "lop_cuff_width_cm": 13.5, "lop_at": "2026-03-02T08:30:00+00:00", "lop_limb": "leg", "lop_side": "right",
    "by": "AB", "percent_lop": None, "cuff": 1,
}  # fmt: skip


class Control:
    """In place of the control loop: keeps what was submitted, and answers it when told to."""

    def __init__(self) -> None:
        self.taken: list[Command] = []
        self.answers: list[asyncio.Future[Reply]] = []
        self.outputs = Outputs((VENTED,))
        session = SimpleNamespace(phase=Phase.IDLE, code="S-1", timeline=SimpleNamespace(protocol="short"))
        session.prescriptions = (None,)
        self.state: Any = SimpleNamespace(session=session)
        self.reply = Reply(0, True, "heard")

    def next_id(self) -> int:
        return len(self.taken) + 1

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        self.taken.append(command)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        answer.get_loop().call_soon(lambda: None if answer.done() else answer.set_result(self.reply))
        return answer


class Door:
    def __init__(self) -> None:
        self.control = Control()
        self.now = NOW
        self.orders = Orders(self.control, DEFAULT_LIMITS, lambda: self.now)  # type: ignore[arg-type]

    def say(self, verb: str, **args: Any) -> Mapping[str, Any]:
        async def ask() -> Mapping[str, Any]:
            return await self.orders.submit(verb, args)

        told = asyncio.run(ask())
        assert set(told) >= TOLD
        assert told["verb"] == verb
        assert "\n" not in told["text"]
        return told


@pytest.fixture
def door() -> Door:
    return Door()


# --- refused at the door ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("inflate", {}),
        ("", {}),
        ("START", {}),
        ("screen", {}),
        ("screen", {"answers": "all fine"}),
        ("screen", {"answers": []}),
        ("screen", {"answers": {"code": "S-1"}}),
        ("screen", {"answers": {"code": "S-1", "none_such": False}}),
        ("prescribe", {}),
        ("prescribe", ASKED | {"protocol": "none-such"}),
        ("prescribe", ASKED | {"protocol": "/none/such.toml"}),
        ("prescribe", ASKED | {"protocol": ["short"]}),
        ("prescribe", ASKED | {"limb": "tail"}),
        ("prescribe", ASKED | {"lop_mmhg": "a lot"}),
        ("prescribe", ASKED | {"lop_mmhg": nan}),
        ("prescribe", ASKED | {"lop_mmhg": inf}),
        ("prescribe", ASKED | {"lop_at": "yesterday"}),
        ("prescribe", ASKED | {"cuff": 2}),
        ("prescribe", ASKED | {"cuff": 0}),
        ("prescribe", ASKED | {"mmhg": 200.0}),
    ],
    ids=lambda one: (
        one if isinstance(one, str) else ", ".join(f"{key}={str(word)[:20]}" for key, word in one.items())[-40:]
    ),
)
def test_bad_input_never_reaches_the_control_loop(verb: str, args: dict[str, Any], door: Door) -> None:
    told = door.say(verb, **args)
    assert told["ok"] is False
    assert told["bad_input"] is True, "its exit code is 2"
    assert told["text"]
    assert told["phase"] == "idle"
    assert door.control.taken == []


@pytest.mark.parametrize("phase", [one for one in Phase if one not in (Phase.IDLE, Phase.READY)])
def test_no_file_is_read_by_a_loop_that_is_not_at_rest(phase: Phase, door: Door, tmp_path: Path) -> None:
    """A protocol on a disk that hangs, or a large one, would hold up the tick of a session under way."""
    door.control.state.session.phase = phase
    os.mkfifo(tmp_path / "hangs.toml")  # whoever opens it waits for a writer
    told = door.say("prescribe", **ASKED | {"protocol": str(tmp_path / "hangs.toml")})
    assert (told["ok"], told["phase"]) == (False, str(phase))
    assert told["text"].startswith(f"not while {phase}: ")
    assert door.control.taken == []


@pytest.mark.parametrize(
    ("change", "value", "limit", "unit"),
    [
        ({"lop_mmhg": 30.0, "lop_again_mmhg": 30.0}, 30.0, 80.0, "mmHg"),
        ({"lop_mmhg": 400.0, "lop_again_mmhg": 400.0}, 400.0, 330.0, "mmHg"),
        ({"percent_lop": 81.0}, 81.0, 80.0, "%"),
    ],
)
def test_what_no_limit_allows_names_the_limit(
    change: dict[str, Any], value: float, limit: float, unit: str, door: Door
) -> None:
    told = door.say("prescribe", **ASKED | change)
    assert told["ok"] is False
    assert "bad_input" not in told, "understood, and refused: its exit code is 1"
    assert (told["value"], told["limit"]) == (value, limit)
    assert unit in told["unit"]
    assert door.control.taken == []


# --- let in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [verb.value for verb in Verb if verb not in (Verb.SCREEN, Verb.PRESCRIBE)])
def test_every_other_verb_goes_to_the_next_tick(verb: str, door: Door) -> None:
    told = door.say(verb, by="A very long name", source="panel")
    assert told["ok"]
    assert told["text"] == "heard"
    (command,) = door.control.taken
    assert command.verb == verb
    assert command.by == "A very l", "initials: no room for a name"
    assert command.source == "socket", "nobody at the socket can claim to be the button on the bench"
    assert command.cuff_off is False


@pytest.mark.parametrize(("said", "heard"), [(True, True), (False, False), ("true", False), (1, False), (None, False)])
def test_that_the_cuff_is_off_is_said_in_so_many_words(said: object, heard: bool, door: Door) -> None:
    door.say("reset", cuff_off=said)
    assert door.control.taken[0].cuff_off is heard


@pytest.mark.parametrize(
    ("said", "heard"), [(None, ""), ("", ""), (" left leg ", "left leg"), ("x" * 99, "x" * 40), (1, "1")]
)
def test_what_a_person_saw_in_a_self_test(said: object, heard: str, door: Door) -> None:
    door.say("selftest", confirm=said)
    assert door.control.taken[0].answer == heard


def test_a_screening_and_a_prescription(door: Door) -> None:
    answers: dict[str, Any] = {question.key: False for question in (*QUESTIONS, HEART_COMPLAINTS, MEDICAL_CLEARANCE)}
    answers |= {"code": "S-1", "systolic_mmhg": 120, "diastolic_mmhg": 80}
    assert door.say("screen", answers=answers, by="AB")["ok"]
    assert door.say("prescribe", **ASKED)["ok"]
    screened, prescribed = door.control.taken
    assert screened.screening is not None
    assert screened.screening.code == "S-1"
    made = prescribed.prescription
    assert made is not None
    assert (made.code, made.cuff, made.plan.target_mmhg) == ("S-1", 0, pytest.approx(0.6 * 187.0))
    assert made.timeline.protocol == "short"


def test_a_number_that_is_none_goes_out_as_null(door: Door) -> None:
    door.control.reply = Reply(1, False, "without a trustworthy reading", nan, inf, "mmHg")
    told = door.say("start")
    assert told["value"] is None


def test_an_asker_that_has_gone_breaks_nothing(door: Door) -> None:
    async def ask() -> None:
        orders = door.orders
        orders.submit("status", {}).cancel()
        kept = orders.submit("status", {})
        door.control.answers[0].cancel()
        assert (await kept)["ok"]

    asyncio.run(ask())


# --- how often --------------------------------------------------------------------------------------------------------


@pytest.fixture
def weekly(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    text = SHORT.read_text().replace("[sources]", '[frequency]\nweekly = 2\n\n[sources]\nfrequency = "this test"')

    def asked(code: str) -> dict[str, Any]:
        path = tmp_path / "short.toml"
        path.write_text(text)
        return ASKED | {"protocol": str(path), "code": code}

    return asked


def tick(*kinds: EventKind, code: str = "S-1") -> Any:
    data = {"code": code, "protocol": "short"}
    return SimpleNamespace(events=tuple(Happened(kind, 0.0, Phase.INFLATING, None, dict(data)) for kind in kinds))


@pytest.mark.parametrize("counts", [EventKind.INFLATION, EventKind.SET_BEGAN])
def test_only_sessions_in_which_a_cuff_came_to_its_target_count(
    counts: EventKind, weekly: Callable[[str], dict[str, Any]], door: Door
) -> None:
    for _ in range(3):  # tripped or stopped while inflating
        door.orders.after(tick(EventKind.STARTED), 0.0)
        door.orders.after(tick(EventKind.TRIP, EventKind.SESSION_ENDED), 0.0)
    assert door.say("prescribe", **weekly("S-1"))["ok"]
    for _ in range(2):
        assert door.say("prescribe", **weekly("S-1"))["ok"]
        door.orders.after(tick(EventKind.STARTED), 0.0)
        door.orders.after(tick(counts, EventKind.SET_BEGAN), 0.0)
        door.orders.after(tick(EventKind.INFLATION, EventKind.SET_BEGAN), 0.0)  # its second set is no second session
    refused = door.say("prescribe", **weekly("S-1"))
    assert not refused["ok"]
    assert (refused["value"], refused["limit"], refused["unit"]) == (2.0, 2.0, "sessions")
    assert door.say("prescribe", **weekly("S-2"))["ok"], "another person's"
    door.now = NOW + timedelta(days=7)
    assert door.say("prescribe", **weekly("S-1"))["ok"] is True, "a week later"


def test_sessions_of_an_earlier_run_count(weekly: Callable[[str], dict[str, Any]], door: Door) -> None:
    door.orders.recall("S-1", "short", NOW - timedelta(days=1))
    door.orders.recall("S-1", "another", NOW - timedelta(days=1))
    assert door.say("prescribe", **weekly("S-1"))["ok"]
    door.orders.recall("S-1", "short", NOW - timedelta(days=6.9))
    assert not door.say("prescribe", **weekly("S-1"))["ok"]


def test_a_refused_prescription_says_which_one_stands(door: Door) -> None:
    """Whoever is refused for the left leg must not start what was meant for the right one."""
    assert "still stands" not in door.say("prescribe", **ASKED | {"limb": "tail"})["text"]
    assert door.say("prescribe", **ASKED)["ok"]
    door.control.state.session.prescriptions = (door.control.taken[-1].prescription,)
    for change in ({"limb": "tail"}, {"lop_mmhg": 400.0, "lop_again_mmhg": 400.0}):
        told = door.say("prescribe", **ASKED | change)
        assert not told["ok"]
        assert ". What was prescribed before still stands: cuff 1, right leg, " in told["text"]
    assert "still stands" not in door.say("screen", answers={})["text"]
