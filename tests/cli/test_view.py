"""The live view on what the socket streams, with and without a terminal."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from controller.bedside.show import snapshot_json
from controller.cli.plot import Plot, Point
from controller.cli.view import Lines, Picture, alarm_words, clock, follow, session_table
from controller.core.model import Alarm, CuffSnapshot, Phase, Priority, Snapshot

NAN = math.nan


def seen(at_s: float, **changed: Any) -> dict[str, Any]:
    """A snapshot as it comes over the socket, working at 150 mmHg unless changed."""
    import json

    cuff = CuffSnapshot(
        changed.pop("a_mmhg", 151.0), NAN, 150.0, 15.0, 187.0, 62.5, 1200.0, 0.25, False, False, "leg", "left"
    )
    fields: dict[str, Any] = {
        "at_s": at_s, "phase": Phase.WORKING, "protocol": "bfr-30-15-15-15", "code": "C1", "set_index": 1, "sets": 4,
        "repetition": 12, "repetitions": 30, "cue": "up", "set_left_s": 72.0, "rest_left_s": NAN,
        "session_left_s": 400.5, "waiting_for": "", "cuffs": (cuff,), "alarms": (), "outcome": "",
    }  # fmt: skip
    line: dict[str, Any] = json.loads(snapshot_json(Snapshot(**(fields | changed))))
    return line


def alarm(**changed: Any) -> Alarm:
    fields: dict[str, Any] = {
        "condition": "leak", "priority": Priority.HIGH, "latched": True, "acknowledged": False,
        "audio_paused_until_s": 0.0, "raised_at_s": 1.0, "text": "the cuff leaks", "value": 7.0, "limit": 7.0,
        "unit": "s", "cuff": 0,
    }  # fmt: skip
    return Alarm(**(fields | changed))


EVERYTHING_UNKNOWN: dict[str, Any] = {
    "protocol": "", "set_index": 0, "repetition": 0, "repetitions": 0, "cue": "", "set_left_s": NAN,
    "session_left_s": NAN, "phase": Phase.FAULT, "waiting_for": "reset",
    "cuffs": (CuffSnapshot(NAN, NAN, NAN, NAN, NAN, 0.0, NAN, 0.0, True, True, "", ""),) * 2,
    "alarms": (alarm(cuff=-1), alarm(condition="x", priority=Priority.LOW, acknowledged=True)),
}  # fmt: skip


def picture_of(*lines: dict[str, Any], width: int = 100, height: int = 40) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    picture = Picture(console, 60.0)
    for line in lines:
        picture.show(line)
    picture.close()
    plain = Console(file=io.StringIO(), width=width)
    plain.print(picture.render(lines[-1]))
    assert isinstance(plain.file, io.StringIO)
    return plain.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 100, 300])
def test_a_bench_that_knows_nothing_is_drawn_too(width: int) -> None:
    shown = picture_of(seen(0.0, **EVERYTHING_UNKNOWN), width=width)
    assert "FAULT" in shown
    if width >= 100:
        assert shown.count("pressure not known") == 2
        assert "high: the cuff leaks [latched]" in shown
        assert "low: the cuff leaks (cuff 1) [latched, seen]" in shown
        assert "waiting for: reset" in shown


def test_the_picture_says_everything_a_supervisor_looks_for() -> None:
    shown = picture_of(*(seen(0.1 * k, a_mmhg=150 + 10 * math.sin(k / 10)) for k in range(300)))
    for words in (
        "bfr-30-15-15-15", "set 1 of 4, repetition 12 of 30", "▲ up", "WORKING", "cuff 1 left leg",
        "(target 150 ± 15)", "pump  25%", "valves closed", "LOP 187", "left:  set 1:12   session at least 6:41",
        "restricted time of cuff 1: 1:03 of 20:00", "no alarms", "last 60 s",
    ):  # fmt: skip
        assert words in shown, words
    assert any(0x2800 < ord(letter) < 0x2900 for letter in shown)


@pytest.mark.parametrize(("width", "height"), [(60, 16), (40, 10), (80, 24), (80, 8), (30, 12)])
@pytest.mark.parametrize("cuffs", [1, 2])
def test_in_a_small_terminal_what_a_person_must_know_stays_and_the_plot_shrinks(
    width: int, height: int, cuffs: int
) -> None:
    cuff = CuffSnapshot(151.0, NAN, 150.0, 15.0, 187.0, 62.5, 1200.0, 0.25, False, False, "leg", "left")
    asked: dict[str, Any] = {
        "phase": Phase.RESTING, "set_left_s": NAN, "rest_left_s": 12.0, "waiting_for": "next or present",
        "alarms": (alarm(text="the cuff leaks"),), "cuffs": (cuff,) * cuffs,
    }  # fmt: skip
    shown = picture_of(*(seen(0.1 * k, **asked) for k in range(100)), width=width, height=height)
    top = [line.strip() for line in shown.splitlines()][:height]
    said = " ".join(" ".join(top).split())
    assert "waiting for: next or present" in said
    assert "high: the cuff leaks (cuff 1) [latched]" in said
    if (width, height, cuffs) != (30, 12, 2):
        assert "left: rest 0:12" in said
        assert len(shown.splitlines()) < height
    if height >= 16 and cuffs == 1:
        assert "last 60 s" in said


def test_a_terminal_that_was_resized_is_cleared_before_the_next_picture() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    picture = Picture(console, 60.0)
    picture.show(seen(0.0))
    picture.close()
    before = out.getvalue()
    assert "\x1b[2J" not in before
    console.size = ConsoleDimensions(60, 16)
    picture = Picture(console, 60.0)
    picture.show(seen(0.1))
    console.size = ConsoleDimensions(100, 30)
    picture.close()
    assert out.getvalue()[len(before) :].count("\x1b[2J") == 1


def test_an_alarm_names_its_cuff_once() -> None:
    told = seen(0.0, alarms=(alarm(text="cuff 1: no reading of sensor A"), alarm(cuff=-1)))["alarms"]
    assert [alarm_words(one) for one in told] == [
        "high: cuff 1: no reading of sensor A [latched]",
        "high: the cuff leaks [latched]",
    ]


def test_a_pause_shows_what_is_left_of_it() -> None:
    shown = picture_of(seen(0.0, phase=Phase.PAUSED, set_left_s=NAN, rest_left_s=300.0, waiting_for="next or stop"))
    assert "left:  pause 5:00   session at least 6:41" in shown


def test_follow_returns_the_session_and_closes_the_view_whatever_happens() -> None:
    class Spy:
        shown = 0
        closed = False

        def show(self, _seen: object) -> None:
            self.shown += 1

        def close(self) -> None:
            self.closed = True

    spy = Spy()
    session = {"type": "session", "outcome": "completed"}
    assert follow([seen(1.0), {"type": "news"}, session, seen(2.0)], spy) == session
    assert (spy.shown, spy.closed) == (2, True)
    spy = Spy()
    assert follow([], spy) is None

    def interrupted() -> Any:
        yield seen(1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(interrupted(), spy)
    assert spy.closed


def test_lines_come_on_change_only(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for at_s in (100.0, 100.1, 100.2):
        lines.show(seen(at_s))
    lines.show(seen(101.0, alarms=(alarm(),)))
    lines.show(seen(102.0))
    lines.show(seen(163.0, phase=Phase.RESTING, waiting_for="next or present", repetition=0))
    lines.close()
    assert capsys.readouterr().out.splitlines() == [
        "0:00  working  set 1 of 4, repetition 12 of 30  cuff 1: 151 mmHg (target 150 ± 15)",
        "0:01  ALARM high: the cuff leaks (cuff 1) [latched]",
        "0:02  alarm over: leak",
        "1:03  resting  set 1 of 4  cuff 1: 151 mmHg (target 150 ± 15)  waiting for: next or present",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (NAN, "–"), (0.0, "0:00"), (-3.0, "0:00"), (59.2, "1:00")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


# --- the plot -------------------------------------------------------------------------------------------------------


def drawn(plot: Plot, width: int = 20, height: int = 5) -> list[str]:
    return ["".join(cell.text for cell in row) for row in plot.draw(width, height)]


def test_an_empty_plot_and_one_that_knows_nothing_draw_nothing() -> None:
    plot = Plot(60.0)
    assert "".join(drawn(plot)).strip() == ""
    plot.add(Point(1.0, NAN, NAN, NAN))
    assert "".join(drawn(plot)).strip() == ""
    assert plot.top_mmhg() == 150.0


def test_a_level_is_drawn_at_its_height_inside_its_band() -> None:
    plot = Plot(10.0)
    for k in range(101):
        plot.add(Point(k * 0.1, 100.0, 90.0, 110.0))
    rows = plot.draw(20, 15)  # 150 mmHg in 15 rows
    traced = {y for y, row in enumerate(rows) for cell in row if cell.trace}
    assert traced == {4}  # 100..110 mmHg
    assert all(cell.inside for cell in rows[4] if cell.trace)
    assert sum(cell.trace for cell in rows[4]) == 20
    assert {y for y, row in enumerate(rows) for cell in row if cell.band} == {4, 5}


def test_what_is_outside_the_band_is_marked_and_a_gap_stays_a_gap() -> None:
    plot = Plot(10.0)
    for k in range(101):
        plot.add(Point(k * 0.1, NAN if 30 < k < 60 else 130.0, 90.0, 110.0))
    cells = [cell for row in plot.draw(20, 15) for cell in row]
    assert not any(cell.inside for cell in cells if cell.trace)
    assert 10 <= sum(cell.trace for cell in cells) <= 15


def test_old_points_leave_and_a_clock_that_begins_anew_clears_the_plot() -> None:
    plot = Plot(10.0)
    for k in range(10000):
        plot.add(Point(k * 0.1, 100.0, NAN, NAN))
    assert len(plot._points) <= 102
    plot.add(Point(0.0, 50.0, NAN, NAN))
    assert len(plot._points) == 1


# --- the end --------------------------------------------------------------------------------------------------------


def ended(cuffs: int = 1) -> dict[str, Any]:
    sets = [
        {"cuff": cuff, "index": k + 1, "reps": 15, "start_s": 90.0 * k, "end_s": 90.0 * k + 60, "mean_mmhg": 150.2,
         "max_mmhg": 161.0, "min_mmhg": None, "time_in_10pct": 0.973, "time_in_5pct": None}
        for k in range(2) for cuff in range(1, cuffs + 1)
    ]  # fmt: skip
    rests = [
        {"cuff": cuff, "start_s": 60.0, "end_s": 90.0, "mode": "intermittent", "released_below_15_after_s": None,
         "free_flow_s": 21.0, "time_in_5pct": None}
        for cuff in range(1, cuffs + 1)
    ]  # fmt: skip
    trips = [{"rule": "leak", "cuff": 1, "at_s": 61.0, "vent_commanded_after_s": 0.0, "below_15_after_s": 1.0}]
    return {
        "outcome": "tripped", "protocol": "p", "duration_s": 750.0, "target_mmhg": [150.0, None], "sets": sets,
        "rests": rests, "trips": trips,
    }  # fmt: skip


def table_of(summary: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    session_table(summary, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(line == line.rstrip() for line in text.splitlines()), "no blanks at the end of a line"
    return text


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("cuffs", [1, 2])
def test_the_table_has_a_row_for_every_set_and_rest_in_their_order(width: int, cuffs: int) -> None:
    text = table_of(ended(cuffs), width)
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[-3 * cuffs :] == ["set 1"] * cuffs + ["rest"] * cuffs + ["set 2"] * cuffs
    assert ("cuff" in text) is (cuffs == 2)
    assert "p: tripped in 12:30, target 150 mmHg; pressures in mmHg" in text
    for words in ("97.3%", "21.0 s", "150", "161"):
        assert words in text
    assert "…" not in text
    assert "tripped by leak at 1:01" in text


def test_where_no_table_fits_each_set_is_a_line() -> None:
    text = table_of(ended(), 40)
    assert "set 1: from 0:00, to 1:00, reps 15, mean 150, low –, high 161, in ±10 % 97.3%" in text
    assert "rest: from 1:00, to 1:30, empty after –, free flow 21.0 s" in text


def test_a_session_without_a_set_has_a_title_all_the_same() -> None:
    assert table_of({"outcome": "stopped"}, 80).startswith(": stopped in –")
