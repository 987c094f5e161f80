"""`manchet simulate`: a whole session in virtual time, judged by the plant, as a table or as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .options import BAD_INPUT, DONE, FAILED, Refused, choice, number, parse_number, whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from ..scenario.run import Scenario
    from ..settings import SensorKind

PERCENT = (1.0, 100.0)
LOP = (80.0, 330.0)
UNPRESCRIBED = "bfr-30-15-15-15"  # what a scenario without a session is made with; nobody prescribes it


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="see `manchet protocols`")] = "",
    lop: Annotated[float, number("--lop", *LOP, "mmHg", help="the simulated limb's occlusion pressure")] = 187.0,
    percent_lop: Annotated[float | None, number("--percent-lop", *PERCENT, "%", help="else the protocol's own")] = None,
    limb: Annotated[str, choice("--limb", ("leg", "arm"))] = "leg",
    cuffs: Annotated[int, whole_number("--cuffs", 1, 2, help="one or two")] = 1,
    seed: Annotated[int, whole_number("--seed", 0, 2**32 - 1, help="of every source of noise")] = 1,
    sensor: Annotated[
        str, choice("--sensor", ("abp2", "mpr", "hsc", "xgzp6847d", "mpx5050"), help="family of each cuff's sensor A")
    ] = "abp2",
    guard: Annotated[str, choice("--guard", ("gpio", "pico"), help="the guard process's pass, or a board's")] = "gpio",
    regulator: Annotated[str, choice("--regulator", ("on", "off"), help="off: closed at target and left")] = "on",
    plant: Annotated[list[str], typer.Option("--plant", metavar="KEY=VALUE", help="see --list-plant")] = [],  # noqa: B006
    fault: Annotated[
        list[str], typer.Option("--fault", metavar="NAME@WHEN[+SECONDS][:FOR][#CUFF]", help="see --list-faults")
    ] = [],  # noqa: B006
    protocols: Annotated[
        Path | None, typer.Option("--protocols", metavar="DIR", help="a folder of protocols that comes first")
    ] = None,
    trace: Annotated[Path | None, typer.Option("--trace", metavar="FILE.csv", help="write every tick to this")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="the bench's self-test in place of a session; PROTOCOL may be left out")
    ] = False,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="what can go wrong, one a line")] = False,
    list_plant: Annotated[bool, typer.Option("--list-plant", help="what --plant may set, one a line")] = False,
) -> int:
    """Live a session on a simulated bench and limb; figures are simulated ones."""
    if list_faults:
        return _list_faults()
    if list_plant:
        return _list_plant()
    if not protocol and not selftest:
        raise Refused("PROTOCOL is missing: name one of `manchet protocols`")
    from ..core.model import Limb
    from ..prescription.library import named
    from ..prescription.prescribe import Refused as NotPrescribed
    from ..scenario.faults import parse
    from ..scenario.run import Scenario, run_scenario

    given = dict(_plant(one) for one in plant)
    try:
        faults = tuple(parse(one, cuffs, cast("SensorKind", sensor)) for one in fault)
    except ValueError as error:
        raise Refused(str(error)) from None
    scenario = Scenario(
        named(protocol or UNPRESCRIBED, protocols), lop, percent_lop, Limb(limb), cuffs, seed, regulator == "on", given,
        faults, cast("SensorKind", sensor), trace=trace, guard=guard,
    )  # fmt: skip
    if selftest:
        return _selftest(scenario, bool(protocol), as_json)
    try:
        result = _with_progress(scenario, run_scenario) if _watched(as_json) else run_scenario(scenario)
    except NotPrescribed as refused:
        raise Refused(refused.text, BAD_INPUT) from None
    except OSError as error:
        raise Refused(f"--trace = {trace}: cannot be written ({error.strerror})", FAILED) from None
    _never_began(result)
    if as_json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return DONE


def _never_began(result: dict[str, Any]) -> None:
    """A fault that nothing came to says nothing of the bench: whoever planned it must not take it for survived."""
    for fault in result["faults_never_began"]:
        print(f"manchet: the fault {fault} never took place: it was over before that", file=sys.stderr)


def _selftest(scenario: Scenario, prescribed: bool, as_json: bool) -> int:
    """In virtual time; with a protocol on the limb it is prescribed for, else with nothing prescribed."""
    from ..prescription.prescribe import Refused as NotPrescribed
    from ..scenario.selftest import run_selftest
    from .selftest import print_table

    try:
        result = run_selftest(scenario, prescribed)
    except NotPrescribed as refused:
        raise Refused(refused.text, BAD_INPUT) from None
    _never_began(result)
    if as_json:
        print(json.dumps(result, allow_nan=False))
    else:
        print(f"simulated bench and limb, guard {result['guard']}, seed {result['seed']}")
        print_table(result)
    return DONE


def _plant(text: str) -> tuple[str, float]:
    from firmware_bridge.simulated.plant import PLANT_KEYS

    name, equals, number_text = text.partition("=")
    if not equals:
        raise Refused(f"--plant = {text}: must be KEY=VALUE, with a key of --list-plant")
    key = PLANT_KEYS.get(name)
    if key is None:
        raise Refused(f"--plant {name} = {number_text}: must be one of {', '.join(PLANT_KEYS)}")
    return name, parse_number(f"--plant {name}", number_text, key.low, key.high, key.unit)


def _list_faults() -> int:
    from ..scenario.faults import FAULTS

    for fault in FAULTS.values():
        print(f"{fault.name:<22} {fault.does}: {fault.answer}")
    return DONE


def _list_plant() -> int:
    from firmware_bridge.simulated.plant import PLANT_KEYS, PlantSettings

    default = PlantSettings()
    for key in PLANT_KEYS.values():
        print(
            f"{key.name:<28} {key.low:g} to {key.high:g} {key.unit}, leg {getattr(default, key.name):g}: {key.meaning}"
        )
    return DONE


def _watched(as_json: bool) -> bool:
    return not as_json and sys.stderr.isatty()


def _with_progress(scenario: Scenario, run: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    from ..prescription.timeline import to_timeline

    planned_s = sum(step.duration_s for step in to_timeline(scenario.protocol).steps)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("virtual time", total=planned_s)
        return run(scenario, lambda now_s: bar.update(task, completed=min(now_s, planned_s)))


def _print(result: dict[str, Any]) -> None:
    """The same figures for a person."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    target = "without a cuff" if result["target_mmhg"] is None else f"at {result['target_mmhg']:g} mmHg"
    console.print(
        f"{result['outcome']} after {result['duration_s']:.1f} s: {result['protocol']} "
        f"{target}, LOP {result['lop_mmhg']:g} mmHg, "
        f"guard {result['guard']}, seed {result['seed']} (simulated bench and limb)"
    )
    for trip in result["trips"]:
        console.print(
            f"tripped after {trip['at_s']:.1f} s by {trip['rule']}: {trip['text']}", markup=False, soft_wrap=True
        )
    _table(
        console, "sets", result["sets"], ("cuff", "index", "reps", "mean_mmhg", "max_mmhg", "min_mmhg", "time_in_10pct")
    )
    _table(
        console,
        "rests",
        result["rests"],
        ("cuff", "start_s", "end_s", "mode", "released_below_15_after_s", "free_flow_s", "time_in_5pct"),
    )
    _table(
        console,
        "inflations",
        result["inflations"],
        ("cuff", "start_s", "to_target_s", "pump_limited_s", "overshoot_mmhg"),
    )
    _table(console, "trips", result["trips"], ("rule", "cuff", "at_s", "vent_commanded_after_s", "below_15_after_s"))
    _table(console, "alarms", result["alarms"], ("condition", "priority", "raised_at_s", "cleared_at_s"))
    console.print(
        f"highest {result['max_true_mmhg']:.1f} mmHg, last {result['final_true_mmhg']:.1f} mmHg, above LOP for "
        f"{result['seconds_above_lop']:.2f} s; {result['wall_s']:.1f} s of computing, "
        f"{result['x_real_time']:.0f} x real time"
    )


def _table(console: Console, title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    from rich.table import Table

    if not rows:
        return
    console.print(title)  # not the table's own, which ends in blanks
    table = Table()
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*[_shown(row[column]) for column in columns])
    console.print(table)


def _shown(figure: object) -> str:
    if figure is None:
        return "-"
    return f"{figure:.2f}" if isinstance(figure, float) else str(figure)
