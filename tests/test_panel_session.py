"""A bench with a panel on gpiozero's mock pins, whole and in virtual time: the button alone starts, goes on, resets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.app import Place, Service
from controller.bedside.signals import BURSTS, COUNT, TEMPO
from controller.clock import virtual_loop
from controller.core.model import EventKind, Happened, Phase, Priority
from controller.prescription.screening import answers_type
from controller.record.writer import InlineJournal
from controller.settings import load

BUTTON, RED, GREEN, BLUE, BUZZER = 22, 23, 24, 10, 18
PROTOCOLS = Path(__file__).parent / "faults"
BENCH = f"""
bench_id = "panel"
require_panel = true
[guard]
kind = "simulated"
[[cuffs]]
sensor = {{ bus = 1 }}
[panel]
start_gpio = {BUTTON}
lamp_red_gpio = {RED}
lamp_green_gpio = {GREEN}
lamp_blue_gpio = {BLUE}
buzzer_gpio = {BUZZER}
[simulated]
[simulated.plant]
volume_ml = 150
slack_ml = 0
"""


class Room:
    """The bench, a hand on its button, eyes and ears on its lamp and buzzer."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.loop = loop
        self.events: list[Happened] = []
        self.tones: list[tuple[float, float]] = []
        self.lit: list[tuple[float, tuple[bool, bool, bool]]] = []
        service.control.watch(lambda stepped, _now_s: self.events.extend(stepped.events))
        pins: Any = service.panel and service.panel.pins
        self.pin: Callable[[int], Any] = pins.factory.pin
        self.button = self.pin(BUTTON)
        self._note(pins)

    def _note(self, pins: Any) -> None:
        """Every tone and colour, as the mocked pins have it after it was driven."""
        tone, light = pins.tone, pins.light

        def noting_tone(hz: float) -> None:
            tone(hz)
            buzzer = self.pin(BUZZER)
            self.tones.append((self.loop.time(), buzzer.frequency if buzzer.state > 0 else 0.0))

        def noting_light(colour: tuple[bool, bool, bool]) -> None:
            light(colour)
            self.lit.append((self.loop.time(), tuple(bool(self.pin(one).state) for one in (RED, GREEN, BLUE))))  # type: ignore[arg-type]

        pins.tone, pins.light = noting_tone, noting_light

    @property
    def phase(self) -> Phase:
        return self.service.control.state.session.phase

    def conditions(self) -> set[str]:
        return {alarm.condition for alarm in self.service.control.snapshot().alarms}

    async def press(self, for_s: float = 0.3) -> None:
        self.button.drive_low()
        await asyncio.sleep(for_s)
        self.button.drive_high()
        await asyncio.sleep(0.2)

    async def until(self, phase: Phase, within_s: float = 60.0) -> None:
        until_s = self.loop.time() + within_s
        while self.phase is not phase:
            assert self.loop.time() < until_s, f"{phase} not within {within_s:g} s, but {self.phase}"
            await asyncio.sleep(0.01)

    async def say(self, verb: str, **args: Any) -> dict[str, Any]:
        """At the console."""
        return dict(await self.service.orders.submit(verb, args))

    async def prepare(self) -> None:
        said: dict[str, Any] = {"code": "S-1", "medical_clearance": True, "systolic_mmhg": 120, "diastolic_mmhg": 80}
        answers = {key: said.get(key, False) for key in answers_type().__struct_fields__}
        prescription = {
            "protocol": "short", "code": "S-1", "limb": "leg", "side": "right", "posture": "supine",
            "cuff_width_cm": 13.5, "lop_mmhg": 187.0, "lop_again_mmhg": 187.0, "lop_method": "doppler",
            "lop_posture": "supine", "lop_cuff_width_cm": 13.5, "lop_at": datetime.now(UTC).isoformat(),
            "lop_limb": "leg", "lop_side": "right", "by": "AB",
        }  # fmt: skip
        for reply in (await self.say("screen", answers=answers, by="AB"), await self.say("prescribe", **prescription)):
            assert reply["ok"], reply
        await self.until(Phase.READY)
        await asyncio.sleep(0.1)  # until it is shown

    def operated(self) -> list[tuple[object, object]]:
        return [(one.data["verb"], one.data["source"]) for one in self.events if one.kind is EventKind.OPERATOR]


Live = Callable[[Callable[[Room], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    """Live a test in a room with a bench that has just been switched on."""
    # In virtual time nothing may wait for a thread.
    monkeypatch.setattr("controller.app.JournalThread", lambda journal, wall_s, _speed: InlineJournal(journal, wall_s))
    config = tmp_path / "bench.toml"
    config.write_text(BENCH, encoding="utf-8")

    def run(test: Callable[[Room], Coroutine[Any, Any, None]]) -> None:
        async def body() -> None:
            loop = asyncio.get_running_loop()
            place = Place(tmp_path / "s.sock", tmp_path / "j.sqlite")
            service = Service(load(config), place, loop, "", protocols=PROTOCOLS)
            assert service.panel is not None
            room = Room(service, loop)
            service.control.start()
            service.panel.start()
            try:
                await asyncio.sleep(2.0)
                await test(room)
            finally:
                service.control.stop()
                service.panel.close()
                service.journal.close(1.0)
            assert not service.control.failed.done()
            assert [room.pin(one).state for one in (RED, GREEN, BLUE, BUZZER)] == [0, 0, 0, 0]

        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(body())

    return run


def test_a_button_stuck_from_power_up_or_later_starts_nothing(live: Live) -> None:
    async def test(room: Room) -> None:
        room.button.drive_low()
        await room.prepare()
        await asyncio.sleep(30.0)
        assert room.phase is Phase.READY
        assert "button_stuck" in room.conditions()
        room.button.drive_high()
        await asyncio.sleep(1.0)
        assert room.phase is Phase.READY
        assert room.conditions() == set()

    live(test)


def test_a_session_by_the_button_alone(live: Live) -> None:
    async def test(room: Room) -> None:
        await room.press()
        assert room.phase is Phase.IDLE, "nothing is prescribed"
        await room.prepare()
        assert room.lit[-1][1] == (False, True, False)
        refused = await room.say("start", by="AB")
        assert not refused["ok"]
        assert "button" in refused["text"]
        await room.press()
        await room.until(Phase.WORKING)
        working_s = room.loop.time()
        await room.press()  # means nothing in a set
        await room.until(Phase.RESTING)
        tempo = [hz for at_s, hz in room.tones if at_s > working_s - 0.1 and hz]
        assert [hz for hz in tempo if hz in (TEMPO["up"].hz, TEMPO["down"].hz)][:6] == [1600.0, 1150.0] * 3
        await asyncio.sleep(1.0)
        assert not (await room.say("next", by="AB"))["ok"]
        await room.press()
        resting_s = room.loop.time()
        await room.until(Phase.INFLATING)
        inflating_s = room.loop.time()
        counted = [at_s for at_s, hz in room.tones if hz == COUNT.hz and at_s > resting_s]
        assert inflating_s - counted[0] == pytest.approx(3.0, abs=0.1), "a cue 3 s before the inflation"
        assert len(counted) == 3
        await room.until(Phase.WORKING)
        await room.until(Phase.IDLE)
        assert room.service.control.snapshot().outcome == "completed"
        assert room.operated()[2:] == [("start", "panel"), ("next", "panel")], "after screen and prescribe"

    live(test)


def test_a_pause_is_left_by_the_button(live: Live) -> None:
    async def test(room: Room) -> None:
        await room.prepare()
        await room.press()
        await room.until(Phase.WORKING)
        assert (await room.say("pause", by="AB"))["ok"]
        await room.until(Phase.PAUSED)
        await asyncio.sleep(15.0)
        await room.press()
        await room.until(Phase.WORKING)

    live(test)


def test_a_trip_is_red_and_loud_and_a_hold_alone_resets_it(live: Live) -> None:
    async def test(room: Room) -> None:
        await room.prepare()
        await room.press()
        await room.until(Phase.WORKING)
        room.service.bench.guard.estop_open = True  # a broken wire of the stop loop is a pressed stop
        await room.until(Phase.FAULT, 1.0)
        tripped_s = room.loop.time()
        await asyncio.sleep(1.0)
        loud = [at_s for at_s, hz in room.tones if hz == BURSTS[Priority.HIGH].hz]
        assert loud[0] - tripped_s < 0.1
        assert {colour for at_s, colour in room.lit if at_s > tripped_s} >= {(True, False, False), (False,) * 3}
        assert (await room.say("silence"))["ok"]
        await asyncio.sleep(10.0)
        assert max(at_s for at_s, hz in room.tones if hz) < tripped_s + 1.2, "silent for as long as it is paused"
        assert (False, False, True) in [colour for at_s, colour in room.lit if at_s > tripped_s + 2.0], "and shown"
        room.service.bench.guard.estop_open = False
        await room.press()
        await asyncio.sleep(1.0)
        assert room.phase is Phase.FAULT, "a press is no hold"
        assert not (await room.say("reset", by="AB"))["ok"]
        await room.press(4.0)
        await asyncio.sleep(0.5)
        assert room.phase in (Phase.IDLE, Phase.READY)
        assert ("reset", "panel") in room.operated()

    live(test)


def test_lines_that_are_taken_are_an_alarm_and_the_bench_serves_on(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(room: Room) -> None:
        monkeypatch.setattr(type(room.pin(RED)), "_set_state", _gone)
        await room.prepare()
        await asyncio.sleep(1.0)
        assert "panel_failed" in room.conditions()
        await room.press()
        await room.until(Phase.WORKING)
        monkeypatch.undo()
        await asyncio.sleep(2.0)
        assert "panel_failed" not in room.conditions()

    live(test)


def _gone(_pin: object, _value: object) -> None:
    raise OSError(19, "no such device")
