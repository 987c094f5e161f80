"""`manchet protocols` and `manchet check-config`: what is on the shelf, and whether a file would be taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DONE, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..prescription.protocol import Exercise, Protocol

Protocols = Annotated[
    Path | None, typer.Option("--protocols", metavar="DIR", help="a folder of protocols that comes first")
]


def register(app: typer.Typer) -> None:
    app.command("protocols")(protocols)
    app.command("check-config")(check_config)


def protocols(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="show this one")] = "", folder: Protocols = None
) -> int:
    """List the protocols, or show one."""
    from ..prescription.library import find_protocols, named
    from ..tomlfile import BadInput

    if name:
        print("\n".join(describe(named(name, folder))))
        return DONE
    for found in find_protocols(folder):
        try:
            print(f"{found:<20} {named(found, folder).title}")
        except BadInput as error:  # a broken file of the clinic's must not hide the others
            print(f"{found:<20} cannot be used: {error}")
    return DONE


def describe(protocol: Protocol) -> list[str]:
    """A protocol in lines for a person: what is done, how long it restricts, and where the numbers come from."""
    from ..prescription.timeline import planned_by_exercise, worst_on_limb

    lines = [f"{protocol.name}: {protocol.title}", f"mode {protocol.mode}, for the {' or '.join(protocol.limbs)}"]
    if protocol.percent_lop is not None:
        low, high = protocol.percent_lop_min, protocol.percent_lop_max
        lines.append(f"{protocol.percent_lop:g} % of LOP ({low:g} to {high:g} % may be chosen)")
    lines += [_exercise(exercise) for exercise in protocol.exercises]
    if protocol.passive is not None:
        bouts = protocol.passive
        lines.append(f"{bouts.bouts} bouts of {bouts.on_s:g} s at target, {bouts.off_s:g} s empty between")
    if protocol.reperfusion_s is not None:
        lines.append(f"{protocol.reperfusion_s:g} s empty between exercises")
    if protocol.percent_lop is not None:
        for number, plan in enumerate(planned_by_exercise(protocol), 1):
            lines.append(f"restricted time planned, exercise {number}: {plan} (at most {protocol.exercise_cap_s:g} s)")
        lines.append(f"restricted time planned on the limb: {worst_on_limb(protocol)[1]}")
    if protocol.frequency is not None:
        seasoned = protocol.frequency.weekly_seasoned
        more = f", {seasoned} for seasoned people" if seasoned else ""
        daily = f"{protocol.frequency.daily} a day and " if protocol.frequency.daily else ""
        lines.append(f"at most {daily}{protocol.frequency.weekly} sessions a week{more}")
    sources = protocol.sources
    named = [(field, getattr(sources, field)) for field in sources.__struct_fields__]
    lines += [f"source of {field}: {source}" for field, source in named if source is not None]
    return lines


def _exercise(exercise: Exercise) -> str:
    if exercise.repetitions is not None:
        sets = "-".join(str(count) for count in exercise.repetitions) + " repetitions"
    else:
        sets = "-".join(f"{length_s:g}" for length_s in exercise.durations_s or ()) + " s"
    words = [f"{exercise.name}: {sets}"]
    if exercise.tempo is not None:
        tempo = exercise.tempo
        pause = f"{tempo.pause_s:g} s held, " if tempo.pause_s else ""
        words.append(f"{tempo.concentric_s:g} s up, {pause}{tempo.eccentric_s:g} s down")
    if exercise.rest_s is not None:
        words.append(f"rests of {exercise.rest_s:g} s")
    return ", ".join(words)


def check_config(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="a bench's settings, a protocol, a board's wiring or screening answers"),
    ],
) -> int:
    """Check a bench's settings or another file that Manchet takes, without starting anything."""
    from .. import hardware, settings, tomlfile

    table = tomlfile.read(file)
    if "bench_id" not in table and (other := _other_kind(file, table)):
        print("\n".join(other))
        return DONE
    bench = settings.load(file)
    hardware.check(bench, file)
    cuffs = "1 cuff" if len(bench.cuffs) == 1 else f"{len(bench.cuffs)} cuffs"
    print(f"{file}: can be used: bench {bench.bench_id}, {cuffs}, {bench.guard.kind} guard, {bench.tick_hz} Hz")
    for warning in hardware.warnings(bench):
        print(f"warning: {warning}")
    for read in (settings.read_password, settings.read_certificates):
        try:
            read(bench.mqtt)
        except tomlfile.BadInput as error:  # `run` would end with it; here it may be another user that asks
            print(f"warning: {error}")
    return DONE


def _other_kind(file: Path, table: dict[str, Any]) -> list[str]:
    """What there is to say of a file that is no bench's, empty when it looks like one. Raises BadInput or Refused."""
    if {"mode", "sources", "exercises"} & set(table):
        from ..prescription.protocol import load_protocol

        return [f"{file}: can be used", *describe(load_protocol(file))]
    if {"pwm_hz", "estop", "heartbeat", "serial"} & set(table):
        from firmware_bridge.firmware import pico_main

        refuse: Callable[[Any], Any] = pico_main.settings
        try:
            refuse(table)
        except ValueError as error:
            raise Refused(f"{file}: {error}") from None
        return [f"{file}: can be used: a board's wiring, for `manchet flash --board`"]
    if "code" in table:
        from ..prescription.screening import answers_type
        from ..tomlfile import convert

        convert(table, answers_type(), file)
        return [f"{file}: is answered in full: screening answers, for `manchet screen`, which judges them"]
    return []
