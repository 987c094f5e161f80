"""Lamp and sound: the standard's numbers over every pattern, then what comes before what."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf, log10, nan, pi, sin

import pytest

from controller.bedside.signals import (
    BLUE,
    BURSTS,
    COUNT,
    CYAN,
    DARK,
    FILLS,
    GREEN,
    LAMPS,
    OVER,
    PICTURE_STALE_S,
    RED,
    TEMPO,
    YELLOW,
    Pip,
    Shown,
    Signals,
)
from controller.core.model import Alarm, Phase, Priority, Snapshot
from firmware_bridge.panel import BUZZER_DUTY

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW
QUIET_FROM_S = 2.0  # the test of lamp and sound at power-up is over
STEP_S = 0.005


def alarm(priority: Priority, raised_at_s: float = 0.0, paused_until_s: float = 0.0, condition: str = "any") -> Alarm:
    return Alarm(condition, priority, False, False, paused_until_s, raised_at_s, "", None, None, "", -1)


def picture(*alarms: Alarm, phase: Phase = Phase.WORKING, cue: str = "", **more: object) -> Snapshot:
    seen = Snapshot(
        at_s=0.0, phase=phase, protocol="", code="", set_index=1, sets=4, repetition=0, repetitions=30, cue=cue,
        set_left_s=nan, rest_left_s=nan, session_left_s=nan, waiting_for="", cuffs=(), alarms=alarms, outcome="",
    )  # fmt: skip
    return replace(seen, **more)  # type: ignore[arg-type]


class Eye:
    """Looks and listens every 5 ms, with a picture that is never old."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.now_s = 0.0
        self.seen = picture(phase=Phase.IDLE)
        self.rows: list[tuple[float, Shown]] = []
        self.watch(QUIET_FROM_S)
        self.rows.clear()

    def watch(self, for_s: float, seen: Snapshot | None = None) -> list[tuple[float, Shown]]:
        self.seen = seen or self.seen
        rows = []
        for _ in range(round(for_s / STEP_S)):
            rows.append((self.now_s, self.signals.look(replace(self.seen, at_s=self.now_s), self.now_s)))
            self.now_s += STEP_S
        self.rows += rows
        return rows

    def tones(self) -> list[tuple[float, float, float]]:
        """Hz, start and end of everything heard so far."""
        heard: list[tuple[float, float, float]] = []
        for at_s, shown in self.rows:
            if shown.hz and heard and heard[-1][0] == shown.hz and abs(heard[-1][2] - at_s) < 1e-9:
                heard[-1] = (shown.hz, heard[-1][1], at_s + STEP_S)
            elif shown.hz:
                heard.append((shown.hz, at_s, at_s + STEP_S))
        return heard

    def pips(self) -> list[Pip]:
        return [Pip(hz, round(end_s - start_s, 3)) for hz, start_s, end_s in self.tones()]


def colours(rows: list[tuple[float, Shown]]) -> set[tuple[bool, bool, bool]]:
    return {shown.colour for _, shown in rows}


# --- the standard's numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "colour", "low_hz", "high_hz"), [(HIGH, RED, 1.4, 2.8), (MEDIUM, YELLOW, 0.4, 0.8)]
)
def test_flashing_rate_duty_and_colour_of_the_lamp(
    priority: Priority, colour: tuple[bool, bool, bool], low_hz: float, high_hz: float
) -> None:
    rows = Eye().watch(20.0, picture(alarm(priority)))
    assert colours(rows) == {colour, DARK}
    lit = [shown.colour == colour for _, shown in rows]
    rises = [at_s for (at_s, _), before, now in zip(rows[1:], lit, lit[1:], strict=False) if now and not before]
    for one, following in pairwise(rises):
        assert low_hz <= 1.0 / (following - one) <= high_hz
        within = [on for (at_s, _), on in zip(rows, lit, strict=True) if one <= at_s < following - 1e-9]
        assert 0.20 <= sum(within) / len(within) <= 0.60
    assert lit[0], "at once"


def test_low_is_constant_and_cyan() -> None:
    assert colours(Eye().watch(60.0, picture(alarm(LOW)))) == {CYAN}


@pytest.mark.parametrize(("priority", "pulses", "least_s", "most_s"), [(HIGH, 10, 2.5, 15.0), (MEDIUM, 3, 2.5, 30.0)])
def test_pulses_of_a_burst_and_the_time_between_bursts(
    priority: Priority, pulses: int, least_s: float, most_s: float
) -> None:
    eye = Eye()
    eye.watch(40.0, picture(alarm(priority)))
    heard = eye.tones()
    bursts = [heard[at : at + pulses] for at in range(0, len(heard) - pulses, pulses)]
    assert len(bursts) >= 4
    assert abs(bursts[0][0][1] - QUIET_FROM_S) < 1e-9, "at once"
    for one, following in pairwise(bursts):
        assert least_s <= following[0][1] - one[-1][2] <= most_s
        assert least_s <= following[0][1] - one[0][1] <= most_s
        for before, after in pairwise(one):
            assert after[1] - before[2] <= 1.30 + 1e-9, "within a burst"


def test_low_sounds_once() -> None:
    eye = Eye()
    eye.watch(120.0, picture(alarm(LOW)))
    assert 1 <= len(eye.tones()) <= 2
    assert eye.now_s - eye.tones()[-1][2] > 100.0


@pytest.mark.parametrize("priority", list(Priority))
def test_frequency_pulse_and_spacing(priority: Priority) -> None:
    one = BURSTS[priority]
    pulses = list(zip(one.edges_s[::2], one.edges_s[1::2], strict=True))
    least_s, most_s = (0.075, 0.200) if priority is HIGH else (0.125, 0.250)
    assert 150.0 <= one.hz <= 1000.0
    assert all(least_s <= round(end_s - start_s, 9) <= most_s for start_s, end_s in pulses)
    gaps_s = [round(after[0] - before[1], 9) for before, after in pairwise(pulses)]
    if priority is HIGH:
        x_s, long_s, middle_s = gaps_s[0], gaps_s[2], gaps_s[4]
        assert gaps_s == [x_s, x_s, long_s, x_s, middle_s, x_s, x_s, long_s, x_s]
        assert x_s == 0.125, "the one spacing within 50 to 125 ms and within 125 to 250 ms"
        assert long_s == pytest.approx(2 * x_s + 0.15)
        assert 0.35 <= middle_s <= 1.30
    else:
        assert all(0.125 <= gap_s <= 0.250 for gap_s in gaps_s)
        assert len(set(gaps_s)) == 1


@pytest.mark.parametrize("priority", list(Priority))
def test_four_harmonics_within_15_db_of_what_drives_the_sounder(priority: Priority) -> None:
    hz = BURSTS[priority].hz
    levels_db = {n: 20 * log10(abs(sin(n * pi * BUZZER_DUTY)) / n) for n in range(1, 30)}
    near = [n for n, level in levels_db.items() if level >= max(levels_db.values()) - 15.0]
    assert sum(300.0 <= n * hz <= 4000.0 for n in near if n > 1) >= 4


def test_cues_are_not_to_be_taken_for_alarms() -> None:
    for pip in (*TEMPO.values(), COUNT, FILLS, OVER):
        assert pip.hz > 1000.0
        assert pip.length_s <= 0.3


# --- what comes before what ----------------------------------------------------------------------------------------


def test_the_highest_priority_shows_and_sounds_at_once() -> None:
    eye = Eye()
    eye.watch(0.3, picture(alarm(MEDIUM)))
    rows = eye.watch(0.5, picture(alarm(HIGH, 2.3), alarm(MEDIUM)))
    assert rows[0][1].colour == RED
    assert rows[0][1].hz == BURSTS[HIGH].hz
    assert colours(rows) == {RED, DARK}


def test_a_burst_that_has_begun_is_heard_to_its_end() -> None:
    eye = Eye()
    eye.watch(0.1, picture(alarm(MEDIUM)))
    eye.watch(20.0, picture())
    assert len(eye.tones()) == 3


def test_an_audio_pause_is_silent_at_once_and_shown_and_over_when_it_is_over() -> None:
    eye = Eye()
    for priority in (HIGH, MEDIUM):
        eye.watch(0.1, picture(alarm(priority)))
        eye.rows.clear()
        until_s = eye.now_s + 30.0
        rows = eye.watch(40.0, picture(alarm(priority, 0.0, until_s)))
        assert eye.tones()[0][1] == pytest.approx(until_s, abs=STEP_S)
        paused = [shown.colour for at_s, shown in rows if at_s < until_s - STEP_S]
        after = [shown.colour for at_s, shown in rows if at_s > until_s]
        assert set(paused) == {LAMPS[priority].colour, DARK, BLUE}
        assert 0.04 <= paused.count(BLUE) / len(paused) <= 0.25
        assert 0.20 <= paused.count(LAMPS[priority].colour) / len(paused) <= 0.60
        assert BLUE not in after


def test_a_new_alarm_breaks_the_pause() -> None:
    eye = Eye()
    eye.watch(5.0, picture(alarm(MEDIUM, 0.0, 100.0)))
    assert eye.tones() == []
    rows = eye.watch(1.0, picture(alarm(HIGH, 7.0), alarm(MEDIUM)))  # as the core has it: the pause is gone
    assert rows[0][1].hz == BURSTS[HIGH].hz


def test_of_low_alarms_only_a_newer_one_sounds_again() -> None:
    eye = Eye()
    old, new = alarm(LOW, 1.0, condition="old"), alarm(LOW, 8.0, condition="new")
    eye.watch(6.0, picture(old))
    first = len(eye.tones())
    eye.watch(6.0, picture(old, new))
    assert len(eye.tones()) == 2 * first
    eye.watch(6.0, picture(old))
    assert len(eye.tones()) == 2 * first


@pytest.mark.parametrize("at_s", [1.0, nan])
def test_an_old_picture_is_an_alarm(at_s: float) -> None:
    signals = Signals()
    signals.look(picture(at_s=0.0), 0.0)
    now_s = 1.0 + PICTURE_STALE_S + 0.001
    shown = signals.look(picture(alarm(LOW, 0.0, 1e9), at_s=at_s), now_s)
    assert (shown.colour, shown.hz) == (RED, BURSTS[HIGH].hz)


def test_no_picture_at_all_becomes_an_alarm() -> None:
    signals = Signals()
    assert signals.look(None, 10.0).colour == RED  # the lamp's test
    assert signals.look(None, 10.0 + PICTURE_STALE_S - 0.01).hz == 0.0
    assert signals.look(None, 10.0 + PICTURE_STALE_S).hz == BURSTS[HIGH].hz


def test_at_power_up_every_colour_and_a_pip_but_never_instead_of_an_alarm() -> None:
    signals, idle = Signals(), picture(phase=Phase.IDLE)
    shown = [signals.look(replace(idle, at_s=at_s), at_s) for at_s in (0.0, 0.25, 0.6, 1.1, 1.6)]
    assert [one.colour for one in shown] == [RED, RED, GREEN, BLUE, DARK]
    assert [one.hz > 0.0 for one in shown] == [True, False, False, False, False]
    assert Signals().look(picture(alarm(MEDIUM)), 0.0).colour == YELLOW


@pytest.mark.parametrize(
    ("seen", "shows"),
    [
        (picture(phase=Phase.IDLE), {DARK}),
        (picture(phase=Phase.READY, waiting_for="start"), {GREEN}),
        (picture(phase=Phase.WORKING), {BLUE}),
        (picture(phase=Phase.STOPPING), {BLUE}),
        (picture(phase=Phase.RESTING), {BLUE}),
        (picture(phase=Phase.RESTING, waiting_for="next or present"), {BLUE, DARK}),
        (picture(phase=Phase.PAUSED, waiting_for="next or stop"), {BLUE, DARK}),
    ],
)
def test_without_an_alarm_the_lamp_says_where_the_session_is(
    seen: Snapshot, shows: set[tuple[bool, bool, bool]]
) -> None:
    assert colours(Eye().watch(4.0, seen)) == shows


# --- cues ----------------------------------------------------------------------------------------------------------


def test_a_pip_for_each_part_of_each_repetition() -> None:
    eye = Eye()
    for repetition in (1, 2):
        for cue in ("up", "hold", "down"):
            eye.watch(1.0, picture(cue=cue, repetition=repetition))
    assert eye.pips() == [TEMPO["up"], TEMPO["hold"], TEMPO["down"]] * 2
    assert len({pip.hz for pip in eye.pips()}) == 3


def test_a_tempo_of_one_part_is_still_heard_at_every_repetition() -> None:
    eye = Eye()
    for repetition in (1, 2, 3):
        eye.watch(1.0, picture(cue="up", repetition=repetition))
    assert eye.pips() == [TEMPO["up"]] * 3


def test_the_end_of_a_set_and_3_s_before_an_inflation() -> None:
    eye = Eye()
    eye.watch(1.0, picture(cue="down", repetition=30))
    eye.rows.clear()
    eye.watch(1.0, picture(cue="releasing", phase=Phase.RELEASING))
    eye.watch(10.0, picture(cue="rest", phase=Phase.RESTING))
    counting_from_s = eye.now_s
    for left in (3, 2, 1, 0):
        eye.watch(1.0 if left else STEP_S, picture(cue=f"cuff fills in {left}", phase=Phase.RESTING))
    eye.watch(1.0, picture(cue="inflating", phase=Phase.INFLATING))
    assert eye.pips() == [OVER, COUNT, COUNT, COUNT, FILLS]
    heard = eye.tones()
    assert heard[1][1] == pytest.approx(counting_from_s)
    assert heard[4][1] - heard[1][1] == pytest.approx(3.0, abs=2 * STEP_S)


def test_a_long_wait_at_target_is_counted_at_its_end_only() -> None:
    eye = Eye()
    for left in range(30, -1, -1):
        eye.watch(1.0, picture(cue=f"ready in {left}", phase=Phase.HOLDING))
    assert eye.pips() == [COUNT] * 3


def test_no_cue_is_mixed_into_a_burst_and_cues_go_on_between_bursts() -> None:
    eye = Eye()
    for repetition in range(1, 30):
        eye.watch(0.5, picture(alarm(MEDIUM), cue="up", repetition=repetition))
    one = BURSTS[MEDIUM]
    for hz, start_s, _ in eye.tones():
        if hz != one.hz:
            assert (start_s - QUIET_FROM_S) % one.every_s >= one.length_s - 1e-6
    assert sum(hz != one.hz for hz, _, _ in eye.tones()) > 10


def test_cues_are_heard_while_alarms_are_paused() -> None:
    eye = Eye()
    eye.watch(1.0, picture(alarm(MEDIUM, 0.0, 1e9), cue="up", repetition=1))
    assert eye.pips() == [TEMPO["up"]]


# --- the next look -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", list(Priority))
def test_looking_only_when_told_to_gives_every_edge(priority: Priority) -> None:
    signals = Signals()
    signals.look(picture(alarm(priority), at_s=100.0), 100.0)
    now_s, heard, before = 100.0, [], False
    while now_s < 140.0:
        shown = signals.look(picture(alarm(priority), at_s=now_s), now_s)
        assert shown.next_s > now_s
        if (shown.hz > 0.0) is not before:
            before = shown.hz > 0.0
            heard.append(now_s - 100.0)
        now_s = shown.next_s
    one = BURSTS[priority]
    rounds = 1 if one.every_s == inf else int(40.0 // one.every_s) + 1
    due = (
        [round_ * one.every_s + edge for round_ in range(rounds) for edge in one.edges_s] if rounds > 1 else one.edges_s
    )
    assert heard == pytest.approx([edge for edge in due if edge < 40.0], abs=1e-5)


def test_a_pip_gives_way_to_the_burst_that_comes() -> None:
    signals, seen = Signals(), picture(alarm(MEDIUM))
    again_s = BURSTS[MEDIUM].every_s
    signals.look(seen, 0.0)
    signals.pip(OVER)
    shown = signals.look(replace(seen, at_s=again_s - 0.1), again_s - 0.1)
    assert (shown.hz, shown.next_s) == (OVER.hz, pytest.approx(again_s))
    assert signals.look(replace(seen, at_s=again_s), again_s).hz == BURSTS[MEDIUM].hz
