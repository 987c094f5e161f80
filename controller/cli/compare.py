"""`manchet compare`: the simulated limb unregulated and regulated, beside devices on people. Figures and a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import DONE, FAILED, Refused, whole_number

if TYPE_CHECKING:
    from ..scenario.compare import Figures

SEEDS_MAX: Final = 200


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    seeds: Annotated[int, whole_number("--seeds", 1, SEEDS_MAX, help="how many simulated people")] = 20,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="draw two repetitions to this")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> int:
    """Compare the simulated limb, unregulated and regulated, with what devices were measured to do on people."""
    if svg is not None:
        return _draw(svg)
    from ..scenario.compare import CASES, DEVICES_ON_PEOPLE
    from ..scenario.compare import compare as all_cases

    wanted = range(1, seeds + 1)
    if as_json or not sys.stderr.isatty():
        found = all_cases(wanted)
    else:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("sessions", total=len(CASES) * seeds)
            found = all_cases(wanted, done=lambda: bar.advance(task))
    if as_json:
        people = [
            {"device": name, "percent_of_time_in_10pct": share, "peak_percent_lop": peak, "valley_percent_lop": valley}
            for name, share, peak, valley in DEVICES_ON_PEOPLE
        ]
        simulated = {name: [asdict(one) for one in rows] for name, rows in found.items()}
        print(json.dumps({"simulated": simulated, "devices_on_people": people}))
    else:
        _print(found, seeds)
    return DONE


def _print(found: dict[str, list[Figures]], seeds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..scenario.compare import DEVICES_ON_PEOPLE

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    console.print(f"simulated limb and bench, {seeds} seed{'' if seeds == 1 else 's'}: median (worst)")
    ours = Table()
    for name in ("", *found):
        ours.add_column(name, justify="right" if name else "left", overflow="fold")
    lines: list[tuple[str, Callable[[list[Figures]], str]]] = [
        ("in ±10 %", lambda rows: _of(rows, lambda one: one.time_in_10pct, min, 100.0)),
        ("held, in ±5 %", lambda rows: _of(rows, lambda one: one.held_in_5pct, min, 100.0)),
        ("peaks % LOP", lambda rows: _of(rows, lambda one: one.peak_percent_lop, max)),
        ("valleys % LOP", lambda rows: _of(rows, lambda one: one.valley_percent_lop, min)),
        ("sinks mmHg", lambda rows: _of(rows, lambda one: one.sinks_mmhg, max)),
        ("s above LOP", lambda rows: _of(rows, lambda one: one.seconds_above_lop, max)),
        ("overshoot mmHg", lambda rows: _of(rows, lambda one: one.overshoot_mmhg, max)),
        ("inflation ratio", lambda rows: _of(rows, lambda one: one.inflation_ratio, max, 1.0, 3)),
        ("to 15 mmHg s", lambda rows: _of(rows, lambda one: one.release_s, max, 1.0, 2)),
        ("completed", lambda rows: f"{sum(one.outcome == 'completed' for one in rows)} of {len(rows)}"),
    ]
    for name, line in lines:
        ours.add_row(name, *[line(rows) for rows in found.values()])
    console.print(ours)
    console.print("devices on people, leg press at 80 % LOP (Swain 2025, n = 15, authors include a maker's company)")
    people = Table()
    for column in ("device", "% of time in ±10 %", "peaks % LOP", "valleys % LOP"):
        people.add_column(column, justify="right")
    for row in DEVICES_ON_PEOPLE:
        people.add_row(*[str(one) for one in row])
    console.print(people)
    console.print("The first table is simulated, the second measured on people: they say nothing of each other's rank.")


def _of(
    rows: list[Figures],
    figure: Callable[[Figures], float | None],
    worst: Callable[[list[float]], float],
    times: float = 1.0,
    digits: int = 1,
) -> str:
    from statistics import median

    known = [value * times for one in rows if (value := figure(one)) is not None]
    return f"{median(known):.{digits}f} ({worst(known):.{digits}f})" if known else "-"


def _draw(path: Path) -> int:
    from ..scenario.picture import picture

    try:
        path.write_text(picture(), encoding="utf-8")
    except OSError as error:
        raise Refused(f"--svg = {path}: cannot be written ({error.strerror})", FAILED) from None
    print(f"{path}: two repetitions, unregulated and regulated (simulated)")
    return DONE
