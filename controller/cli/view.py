"""What the bench is doing, live: on a terminal a picture (rich), elsewhere a line at every change.

Fed with the lines that the command socket streams to a watcher (`bedside.show`), so it sees what any other program
would see and cannot be in the way of control. Imported by `watch` and `demo` only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import groupby
from time import monotonic
from typing import Any, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .plot import Cell, Plot, Point

FRAME_S: Final = 0.1  # of the wall, between two pictures
PLOT_HEIGHT: Final = 10
PLOT_LEAST: Final = 2  # rows; with fewer a plot shows nothing
WIDTH_MAX: Final = 110
PHASE_STYLES: Final = {
    "working": "bold green", "holding": "green", "inflating": "bold yellow", "releasing": "cyan", "resting": "cyan",
    "moving": "green", "paused": "yellow", "stopping": "yellow", "fault": "bold white on red", "testing": "bold yellow",
}  # fmt: skip
PRIORITY_STYLES: Final = {"high": "bold white on red", "medium": "black on yellow", "low": "cyan"}
CUES: Final = {"up": "▲ up", "down": "▼ down", "hold": "■ hold"}


class View(Protocol):
    """Where the bench is shown."""

    def show(self, seen: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def make_view(span_s: float = 60.0) -> View:
    """The picture where standard output is a terminal, lines elsewhere. `span_s`: bench seconds in the plot."""
    return Picture(Console(), span_s) if sys.stdout.isatty() and _draws_dots() else Lines()


def _draws_dots() -> bool:
    try:
        "⣿".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def follow(lines: Iterable[Mapping[str, Any]], view: View) -> Mapping[str, Any] | None:
    """Show what comes until it ends; the summary of the last session that ended, if one did."""
    summary = None
    try:
        for line in lines:
            if line.get("type") == "session":
                summary = line
            elif line.get("type") == "snapshot":
                view.show(line)
    finally:
        view.close()
    return summary


# --- lines --------------------------------------------------------------------------------------------------------


class Lines:
    """One line at every change of phase, set, alarms or what is waited for, and at every tenth repetition."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._alarms: dict[str, str] = {}
        self._from_s: float | None = None

    def show(self, seen: Mapping[str, Any]) -> None:
        self._from_s = seen["at_s"] if self._from_s is None else self._from_s
        at = clock(seen["at_s"] - self._from_s)
        standing = {alarm["condition"]: alarm_words(alarm) for alarm in seen["alarms"]}
        for condition, words in standing.items():
            if condition not in self._alarms:
                print(f"{at}  ALARM {words}", flush=True)
        for condition in self._alarms.keys() - standing.keys():
            print(f"{at}  alarm over: {condition}", flush=True)
        self._alarms = standing
        key = (seen["phase"], seen["set_index"], seen["repetition"] // 10, seen["waiting_for"], seen["outcome"])
        if key != self._key:
            self._key = key
            parts = [seen["phase"], progress(seen), *(cuff_words(k, cuff) for k, cuff in enumerate(seen["cuffs"], 1))]
            if seen["waiting_for"]:
                parts.append(f"waiting for: {seen['waiting_for']}")
            print(f"{at}  {'  '.join(part for part in parts if part)}", flush=True)

    def close(self) -> None:
        pass


def clock(seconds: float | None) -> str:
    """Minutes and seconds; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = math.ceil(seconds - 1e-9) if seconds > 0 else 0
    return f"{whole // 60}:{whole % 60:02d}"


def progress(seen: Mapping[str, Any]) -> str:
    """Where in the protocol."""
    words = []
    if seen["set_index"]:
        words.append(f"set {seen['set_index']} of {seen['sets']}")
    if seen["repetition"]:
        of = f" of {seen['repetitions']}" if seen["repetitions"] else ""
        words.append(f"repetition {seen['repetition']}{of}")
    return ", ".join(words)


def cuff_words(number: int, cuff: Mapping[str, Any]) -> str:
    """One cuff's pressure and what it should be."""
    reading = higher(cuff)
    words = f"cuff {number}: {'pressure not known' if reading is None else f'{reading:.0f} mmHg'}"
    if cuff["target_mmhg"] is not None:
        words += f" (target {cuff['target_mmhg']:.0f} ± {cuff['band_mmhg']:.0f})"
    return words


def alarm_words(alarm: Mapping[str, Any]) -> str:
    """Priority, text and how it stands."""
    cuff = f"cuff {alarm['cuff'] + 1}"
    where = f" ({cuff})" if alarm["cuff"] >= 0 and cuff not in alarm["text"] else ""
    marks = [mark for mark, on in (("latched", alarm["latched"]), ("seen", alarm["acknowledged"])) if on]
    return f"{alarm['priority']}: {alarm['text']}{where}{' [' + ', '.join(marks) + ']' if marks else ''}"


def higher(cuff: Mapping[str, Any]) -> float | None:
    """The higher of the known readings, on which every ceiling is judged."""
    known: list[float] = [cuff[key] for key in ("a_mmhg", "b_mmhg") if cuff[key] is not None]
    return max(known, default=None)


# --- picture ------------------------------------------------------------------------------------------------------


class Picture:
    """The live picture, in whatever room the terminal gives: what a person is asked and the alarms come before
    everything, the plots take what is left."""

    def __init__(self, console: Console, span_s: float) -> None:
        self._console = console
        self._span_s = span_s
        self._plots: list[Plot] = []
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._live.start()
        self._next_at_s = 0.0
        self._seen: Mapping[str, Any] | None = None
        self._size = console.size

    def show(self, seen: Mapping[str, Any]) -> None:
        while len(self._plots) < len(seen["cuffs"]):
            self._plots.append(Plot(self._span_s))
        for plot, cuff in zip(self._plots, seen["cuffs"], strict=False):
            reading, target, band = higher(cuff), cuff["target_mmhg"], cuff["band_mmhg"]
            at_target = seen["phase"] in ("inflating", "working", "holding") and target is not None
            low, high = (target - band, target + band) if at_target else (math.nan, math.nan)
            plot.add(Point(seen["at_s"], math.nan if reading is None else reading, low, high))
        self._seen = seen
        if monotonic() >= self._next_at_s:
            self._draw()

    def close(self) -> None:
        if self._seen is not None:
            self._draw()
        self._live.stop()

    def _draw(self) -> None:
        assert self._seen is not None
        if self._console.size != self._size:  # a terminal that was resized has wrapped or cut what stood there
            self._size = self._console.size
            self._console.clear()
        self._live.update(self.render(self._seen), refresh=True)
        self._next_at_s = monotonic() + FRAME_S

    def render(self, seen: Mapping[str, Any]) -> Group:
        """Head, a plot for each cuff, times, what is asked, alarms; what is asked on top where there is no room."""
        width = min(self._console.width, WIDTH_MAX)
        head, asked, times = _head(seen, width), _asked(seen), _times(seen)
        cuffs = [_cuff_line(number, cuff) for number, cuff in enumerate(seen["cuffs"], 1)]
        fixed: list[Table | Text] = [head, *asked, times, *cuffs]
        free = self._console.height - 1 - sum(self._lines(one, width) for one in fixed)
        if free < 0:
            short = [Text(cuff_words(number, cuff)) for number, cuff in enumerate(seen["cuffs"], 1)]
            return Group(*asked, head, *short, _left(seen))
        height = min(max(3, PLOT_HEIGHT // max(1, len(cuffs))), (free - 1) // max(1, len(cuffs)))
        rows: list[Any] = [head]
        for line, plot in zip(cuffs, self._plots, strict=False):
            rows += [line, *(_plot_rows(plot, width, height) if height >= PLOT_LEAST else ())]
        if height >= PLOT_LEAST:
            label = f" last {self._span_s:g} s"
            rows.append(Text(f"{'':5}└{'─' * (width - 6 - len(label))}{label}", style="dim", no_wrap=True))
        return Group(*rows, times, *asked)

    def _lines(self, row: Table | Text, width: int) -> int:
        return len(self._console.render_lines(row, self._console.options.update(width=width, height=None)))


def _head(seen: Mapping[str, Any], width: int) -> Table:
    head = Table.grid(expand=False)
    head.width = width
    head.add_column(ratio=1)
    head.add_column(justify="right")
    phase = Text(f" {seen['phase'].upper()} ", style=PHASE_STYLES.get(seen["phase"], "bold"))
    cue = CUES.get(seen["cue"], seen["cue"])
    where = Text.assemble((seen["protocol"] or "nothing prescribed", "bold"), "  ", progress(seen), "  ", (cue, "bold"))
    head.add_row(where, phase)
    return head


def _cuff_line(number: int, cuff: Mapping[str, Any]) -> Text:
    limb = f" {cuff['side']} {cuff['limb']}" if cuff["limb"] else ""
    valves = "open" if cuff["vent_open"] and cuff["dump_open"] else "dump closed" if cuff["vent_open"] else "closed"
    return Text.assemble(
        (f"cuff {number}{limb}", "bold"),
        f"  {cuff_words(number, cuff).split(': ', 1)[1]}",
        (f"  pump {cuff['pump_duty']:4.0%}  valves {valves}", "dim"),
        (f"  LOP {cuff['lop_mmhg']:.0f}" if cuff["lop_mmhg"] is not None else "", "dim"),
    )


def _plot_rows(plot: Plot, width: int, height: int) -> list[Text]:
    top_mmhg = plot.top_mmhg()
    rows = []
    for y, cells in enumerate(plot.draw(width - 6, height)):
        label = f"{top_mmhg * (height - y) / height:4.0f} " if y % 2 == 0 else " " * 5
        row = Text(no_wrap=True).append(label + "│", style="dim")
        for style, run in groupby(cells, key=_style):
            row.append("".join(cell.text for cell in run), style=style)
        rows.append(row)
    return rows


def _style(cell: Cell) -> str:
    ground = "on grey23" if cell.band else ""
    if not cell.trace:
        return ground
    return f"{'bold green' if cell.inside else 'bright_cyan'} {ground}"


def _left(seen: Mapping[str, Any]) -> Text:
    """What is planned and not yet lived. A session lasts longer than that: how long an inflation takes, and how long a
    person lets it wait, nobody knows before."""
    rest = "pause" if seen["phase"] == "paused" else "rest"
    left = [
        (name, seen[key])
        for name, key in (("set", "set_left_s"), (rest, "rest_left_s"), ("session at least", "session_left_s"))
        if seen[key] is not None
    ]
    return Text("left:  " + "   ".join(f"{name} {clock(seconds)}" for name, seconds in left) if left else "")


def _times(seen: Mapping[str, Any]) -> Text:
    text = _left(seen)
    for number, cuff in enumerate(seen["cuffs"], 1):
        if cuff["restricted_cap_s"] is not None:
            of = f"{clock(cuff['restricted_s'])} of {clock(cuff['restricted_cap_s'])}"
            text.append(f"   restricted time of cuff {number}: {of}", style="dim")
    return text


def _asked(seen: Mapping[str, Any]) -> list[Text]:
    """What a person has to know and do: never cut off."""
    asked = [Text(f" {alarm_words(alarm)} ", style=PRIORITY_STYLES[alarm["priority"]]) for alarm in seen["alarms"]]
    if seen["waiting_for"]:
        asked.insert(0, Text(f"waiting for: {seen['waiting_for']}", style="bold yellow"))
    return asked or [Text("no alarms", style="dim")]


# --- the end ------------------------------------------------------------------------------------------------------


def session_table(summary: Mapping[str, Any], console: Console) -> None:
    """Print a session's sets and rests: a table where it fits, else a line each."""
    from rich import box

    target = " / ".join(f"{value:.0f}" for value in _listed(summary.get("target_mmhg")) if value is not None)
    title = f"{summary.get('protocol', '')}: {summary['outcome']} in {clock(summary.get('duration_s'))}"
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    say(title + (f", target {target} mmHg" if target else "") + "; pressures in mmHg")
    rows = [row for _, row in sorted([*_set_rows(summary), *_rest_rows(summary)], key=lambda pair: pair[0])]
    shown = [k for k in range(len(COLUMNS)) if k != CUFF_COLUMN or len({row[CUFF_COLUMN] for row in rows}) > 1]
    style = box.ROUNDED if console.is_terminal else box.ASCII
    table = Table(box=style, collapse_padding=True)
    for k in shown:
        width = max(len(line) for text in [COLUMNS[k], *(row[k] for row in rows)] for line in text.split("\n"))
        table.add_column(COLUMNS[k], justify="right" if k else "left", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*[row[k] for k in shown])
    if console.measure(table, options=console.options.update(max_width=ANY_WIDTH)).minimum <= console.width:
        console.print(table)
    else:
        for row in rows:
            words = [f"{COLUMNS[k].replace(chr(10), ' ')} {row[k]}" for k in shown[1:] if row[k]]
            say(f"{row[0]}: {', '.join(words)}")
    for trip in summary.get("trips", ()):
        say(f"tripped by {trip['rule']} at {clock(trip['at_s'])}")


COLUMNS: Final = (
    "", "cuff", "from", "to", "reps", "mean", "low", "high", "in\n±10 %", "empty\nafter", "free\nflow",
)  # fmt: skip
CUFF_COLUMN: Final = 1
ANY_WIDTH: Final = 500


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _set_rows(summary: Mapping[str, Any]) -> list[tuple[tuple[float, int], list[str]]]:
    return [
        (
            (one["start_s"], one["cuff"]),
            [
                f"set {one['index']}", str(one["cuff"]), clock(one["start_s"]), clock(one["end_s"]), str(one["reps"]),
                _mmhg(one["mean_mmhg"]), _mmhg(one["min_mmhg"]), _mmhg(one["max_mmhg"]),
                "–" if one["time_in_10pct"] is None else f"{one['time_in_10pct']:.1%}", "", "",
            ],
        )
        for one in summary.get("sets", ())
    ]  # fmt: skip


def _rest_rows(summary: Mapping[str, Any]) -> list[tuple[tuple[float, int], list[str]]]:
    return [
        (
            (one["start_s"], one["cuff"]),
            [
                "rest", str(one["cuff"]), clock(one["start_s"]), clock(one["end_s"]), "", "", "", "", "",
                _seconds(one["released_below_15_after_s"]), _seconds(one["free_flow_s"]),
            ],
        )
        for one in summary.get("rests", ())
    ]  # fmt: skip


def _mmhg(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
