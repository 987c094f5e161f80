"""The panel in virtual time, with lines by hand: what breaks first, then what a press means and what is driven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest

from controller.bedside.button import STUCK_S
from controller.bedside.panel import AGAIN_S, Panel, meaning
from controller.bedside.signals import BLUE, BURSTS, GREEN, RED, REFUSED, TAKEN, Colour
from controller.clock import virtual_loop
from controller.core.model import Alarm, Phase, Priority, Snapshot, Verb
from firmware_bridge.panel import PanelLines, PanelPins, pi_factory

HIGH_ALARM = Alarm("leak", Priority.HIGH, True, False, 0.0, 0.0, "", None, None, "", 0)
READY = Snapshot(
    at_s=0.0, phase=Phase.READY, protocol="", code="", set_index=0, sets=0, repetition=0, repetitions=0, cue="",
    set_left_s=nan, rest_left_s=nan, session_left_s=nan, waiting_for="start", cuffs=(), alarms=(), outcome="",
)  # fmt: skip


class Lines:
    """The panel's pins by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.down = False
        self.broken: set[str] = set()
        self.lit: list[tuple[float, Colour]] = []
        self.tones: list[tuple[float, float]] = []
        self.closed = 0
        self._loop = loop

    def _try(self, what: str) -> None:
        if what in self.broken:
            raise OSError(5, f"{what} is gone")

    def pressed(self) -> bool:
        self._try("button")
        return self.down

    def light(self, colour: Colour) -> None:
        self._try("lamp")
        self.lit.append((self._loop.time(), colour))

    def tone(self, hz: float) -> None:
        self._try("buzzer")
        self.tones.append((self._loop.time(), hz))

    def close(self) -> None:
        self._try("close")
        self.closed += 1


class Bench:
    """A panel, a bench that shows `seen` every 50 ms, and whoever takes the verbs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broken: Exception | None = None, shows: bool = True) -> None:
        self.loop = loop
        self.lines = Lines(loop)
        self.said: list[Verb] = []
        self.seen = READY
        self.ok = True
        self.shows = shows

        def make() -> Lines:
            if broken is not None:
                raise broken
            return self.lines

        self.panel = Panel(loop, make, self.say)
        self._show()
        self.panel.start()

    def _show(self) -> None:
        if self.shows:
            self.panel.offer(replace(self.seen, at_s=self.loop.time()))
            self.loop.call_later(0.05, self._show)

    def say(self, verb: Verb) -> asyncio.Future[Mapping[str, Any]]:
        self.said.append(verb)
        answer: asyncio.Future[Mapping[str, Any]] = self.loop.create_future()
        answer.set_result({"ok": self.ok, "text": "as told"})
        return answer

    async def look(self, **changes: Any) -> None:
        """The bench looks so from now on, and has for long enough to be seen."""
        self.seen = replace(self.seen, **changes)
        await asyncio.sleep(0.2)

    async def press(self, for_s: float = 0.3) -> None:
        self.lines.down = True
        await asyncio.sleep(for_s)
        self.lines.down = False
        await asyncio.sleep(0.3)

    def conditions(self) -> list[str]:
        return [notice.condition for notice in self.panel.notices()]


Live = Callable[..., None]


@pytest.fixture
def live() -> Live:
    """Run a test in virtual time, with a panel two seconds after power-up."""

    def run(test: Callable[[Bench], Coroutine[Any, Any, None]], broken: Exception | None = None) -> None:
        async def body() -> None:
            bench = Bench(asyncio.get_running_loop(), broken)
            await asyncio.sleep(2.0)
            await test(bench)
            bench.panel.close()

        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(body())

    return run


# --- what breaks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [ImportError("no module named lgpio"), OSError(16, "GPIO busy"), RuntimeError("?")])
def test_lines_that_cannot_be_had_are_a_medium_alarm_and_nothing_else(live: Live, broken: Exception) -> None:
    async def test(bench: Bench) -> None:
        (notice,) = bench.panel.notices()
        assert notice.condition == "panel_failed"
        assert str(broken) in notice.detail
        await bench.press()
        assert bench.said == []

    live(test, broken)


def test_without_a_first_picture_a_press_means_nothing() -> None:
    async def body() -> None:
        bench = Bench(asyncio.get_running_loop(), shows=False)
        await asyncio.sleep(0.2)
        await bench.press(0.1)
        assert bench.said == []
        bench.panel.close()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(body())


@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has lines of its own")
def test_a_machine_without_lines_serves_without_a_panel() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        lines = PanelLines(22, (23, 24, 10), 18)
        panel = Panel(loop, lambda: PanelPins(lines, pi_factory()), lambda _verb: loop.create_future())
        panel.start()
        await asyncio.sleep(1.0)
        assert [notice.condition for notice in panel.notices()] == ["panel_failed"]
        panel.close()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(body())


@pytest.mark.parametrize("part", ["button", "lamp", "buzzer"])
def test_a_part_that_fails_is_told_keeps_none_of_the_others_and_comes_back(live: Live, part: str) -> None:
    async def test(bench: Bench) -> None:
        bench.lines.broken = {part}
        await bench.look(alarms=(HIGH_ALARM,), phase=Phase.FAULT)
        await asyncio.sleep(5.0)
        (notice,) = bench.panel.notices()
        assert notice.condition == "panel_failed"
        assert f"{part} is gone" in notice.detail
        assert bench.panel.notices() is bench.panel.notices()
        assert (RED in [colour for at_s, colour in bench.lines.lit if at_s > 2.0]) is (part != "lamp")
        assert (BURSTS[Priority.HIGH].hz in [hz for _, hz in bench.lines.tones]) is (part != "buzzer")
        bench.lines.broken.clear()
        mended_s = bench.loop.time()
        await asyncio.sleep(AGAIN_S + 0.1)
        assert bench.panel.notices() == ()
        await asyncio.sleep(BURSTS[Priority.HIGH].every_s)
        assert RED in [colour for at_s, colour in bench.lines.lit if at_s > mended_s]
        assert BURSTS[Priority.HIGH].hz in [hz for at_s, hz in bench.lines.tones if at_s > mended_s]
        await bench.look(alarms=(), phase=Phase.READY)
        await bench.press()
        assert bench.said == [Verb.START]

    live(test)


def test_a_lamp_that_failed_shows_what_stands_when_it_is_mended_though_nothing_has_changed(live: Live) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(phase=Phase.IDLE)
        bench.lines.broken = {"lamp"}
        await bench.look(phase=Phase.READY)
        bench.lines.broken.clear()
        await asyncio.sleep(AGAIN_S + 0.1)
        assert bench.lines.lit[-1][1] == GREEN

    live(test)


def test_a_button_that_cannot_be_read_while_it_is_down_is_no_press(live: Live) -> None:
    async def test(bench: Bench) -> None:
        bench.lines.down = True
        await asyncio.sleep(0.2)
        bench.lines.broken = {"button"}
        await asyncio.sleep(0.2)
        bench.lines.broken.clear()
        bench.lines.down = False
        await asyncio.sleep(3.0)
        assert bench.said == []

    live(test)


def test_what_fails_in_the_panel_itself_does_not_end_it(live: Live) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(alarms=(object(),))  # no alarm at all
        assert bench.conditions() == ["panel_failed"]
        await bench.look(alarms=())
        await bench.press()
        assert bench.said == [Verb.START]

    live(test)


def test_a_stuck_button_is_told_and_starts_nothing(live: Live) -> None:
    async def test(bench: Bench) -> None:
        bench.lines.down = True
        await asyncio.sleep(STUCK_S - 0.5)
        assert bench.conditions() == []
        await asyncio.sleep(600.0)
        assert bench.conditions() == ["button_stuck"]
        bench.lines.down = False
        await asyncio.sleep(1.0)
        assert (bench.conditions(), bench.said) == ([], [])

    live(test)


def test_pictures_that_no_longer_come_are_an_alarm_and_a_press_means_nothing(live: Live) -> None:
    async def test(bench: Bench) -> None:
        bench.shows = False
        await asyncio.sleep(1.0)
        await bench.press()
        assert bench.said == []
        assert RED in [colour for _, colour in bench.lines.lit[-3:]]
        assert BURSTS[Priority.HIGH].hz in [hz for _, hz in bench.lines.tones]

    live(test)


def test_closing_twice_or_on_dead_lines_is_quiet(live: Live) -> None:
    async def test(bench: Bench) -> None:
        bench.lines.broken = {"close"}
        bench.panel.close()
        bench.panel.close()
        heard = len(bench.lines.tones), len(bench.lines.lit)
        await asyncio.sleep(5.0)
        assert (len(bench.lines.tones), len(bench.lines.lit)) == heard

    live(test)


# --- what a press means --------------------------------------------------------------------------------------------

MEANS = {
    Phase.IDLE: Verb.START,  # and the core says why not
    Phase.READY: Verb.START,
    Phase.RESTING: Verb.NEXT,
    Phase.PAUSED: Verb.NEXT,
}


@pytest.mark.parametrize("phase", list(Phase))
def test_a_press_in_every_phase(live: Live, phase: Phase) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(phase=phase, waiting_for="")
        await bench.press()
        assert bench.said == ([MEANS[phase]] if phase in MEANS else [])

    live(test)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_hold_in_every_phase_resets_a_fault_and_does_nothing_else(live: Live, phase: Phase) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(phase=phase)
        await bench.press(4.0)
        assert bench.said == ([Verb.RESET] if phase is Phase.FAULT else [])
        await bench.press(STUCK_S)
        assert len(bench.said) == (phase is Phase.FAULT)

    live(test)


def test_a_hold_under_pressure_is_answered_where_it_asks() -> None:
    holding = replace(READY, phase=Phase.HOLDING, waiting_for="present")
    assert meaning(holding) is Verb.PRESENT
    assert meaning(replace(holding, waiting_for="")) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Phase.IDLE, Phase.READY),
        (Phase.WORKING, Phase.RESTING),
        (Phase.FAULT, Phase.READY),
        (Phase.READY, Phase.RESTING),
        (Phase.READY, Phase.IDLE),
        (Phase.RESTING, Phase.PAUSED),
        (Phase.PAUSED, Phase.RESTING),
    ],
)
def test_a_press_that_has_lost_its_meaning_or_found_one_on_the_way_is_none(
    live: Live, before: Phase, after: Phase
) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(phase=before, waiting_for="")
        bench.lines.down = True
        await asyncio.sleep(0.3)
        await bench.look(phase=after)
        bench.lines.down = False
        await asyncio.sleep(0.5)
        assert bench.said == []

    live(test)


def test_a_press_before_a_hold_asks_for_it_is_no_answer(live: Live) -> None:
    async def test(bench: Bench) -> None:
        await bench.look(phase=Phase.HOLDING, waiting_for="")
        bench.lines.down = True
        await asyncio.sleep(0.3)
        await bench.look(waiting_for="present")
        bench.lines.down = False
        await asyncio.sleep(0.5)
        assert bench.said == []
        await bench.press()
        assert bench.said == [Verb.PRESENT]

    live(test)


@pytest.mark.parametrize("ok", [True, False])
def test_whoever_presses_hears_whether_it_was_taken(live: Live, ok: bool) -> None:
    async def test(bench: Bench) -> None:
        bench.ok = ok
        before = len(bench.lines.tones)
        await bench.press()
        (began_s, hz), (ended_s, silent) = bench.lines.tones[before:]
        pip = TAKEN if ok else REFUSED
        assert (hz, silent) == (pip.hz, 0.0)
        assert ended_s - began_s == pytest.approx(pip.length_s)

    live(test)


# --- what is driven ------------------------------------------------------------------------------------------------


def test_a_line_is_written_when_it_changes_and_only_then(live: Live) -> None:
    async def test(bench: Bench) -> None:
        written = len(bench.lines.lit), len(bench.lines.tones)
        await asyncio.sleep(60.0)
        assert (len(bench.lines.lit), len(bench.lines.tones)) == written
        assert bench.lines.lit[-1][1] == GREEN
        await bench.look(phase=Phase.WORKING)
        assert bench.lines.lit[-1][1] == BLUE

    live(test)


def test_every_edge_of_a_burst_is_driven_when_it_is_due(live: Live) -> None:
    async def test(bench: Bench) -> None:
        before = len(bench.lines.tones)
        await bench.look(alarms=(HIGH_ALARM,), phase=Phase.FAULT)
        one = BURSTS[Priority.HIGH]
        await asyncio.sleep(one.every_s - 0.3)
        driven = bench.lines.tones[before:]
        assert [hz for _, hz in driven] == [one.hz, 0.0] * 10
        assert [at_s - driven[0][0] for at_s, _ in driven] == pytest.approx(list(one.edges_s), abs=1e-3)

    live(test)
