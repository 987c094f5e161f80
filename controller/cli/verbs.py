"""What a person at the bench says: every verb goes over the local socket to the bench, which decides.

Imports the bedside client, never the app. Here only what is no number or no word at all is refused; the bench judges
the rest and says which limit refused it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.limits import LOP_MAX_MMHG, LOP_MIN_MMHG
from .options import AsJson, Bench, Refused, Socket, choice, number, read_file, whole_number
from .say import say

By = Annotated[str, typer.Option("--by", metavar="INITIALS", help="who says so")]
LIMBS = ("leg", "arm")
SIDES = ("left", "right")
POSTURES = "supine, seated or standing"
METHODS = "doppler, oximeter, plethysmograph, oscillometric, palpation, device or other"
LOP = (LOP_MIN_MMHG, LOP_MAX_MMHG, "mmHg")
WIDTH = (3.0, 25.0, "cm")  # [J] every cuff on the market is between


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for command in (
        status, screen, prescribe, start, next_, present, stop, pause, lower, acknowledge, silence, reset,
    ):  # fmt: skip
        lenient = {"allow_extra_args": True, "ignore_unknown_options": True} if command is stop else None
        app.command(command.__name__.rstrip("_"), context_settings=lenient)(command)


def status(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Say how the bench is."""
    return say("status", {}, bench, socket, as_json)


def screen(
    answers: Annotated[Path, typer.Option("--answers", metavar="FILE", help="the screening answers, TOML or JSON")],
    by: By,
    bench: Bench = "",
    socket: Socket = "",
    as_json: AsJson = False,
) -> int:
    """Hand in the screening of this session's person."""
    return say("screen", {"answers": read_answers(answers), "by": by}, bench, socket, as_json)


def prescribe(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="see `manchet protocols`")],
    code: Annotated[str, typer.Option("--code", metavar="CODE", help="the person's code in this clinic, never a name")],
    limb: Annotated[str, choice("--limb", LIMBS)],
    side: Annotated[str, choice("--side", SIDES)],
    posture: Annotated[str, typer.Option("--posture", metavar="POSTURE", help=f"of the exercise: {POSTURES}")],
    cuff_width_cm: Annotated[float, number("--cuff-width-cm", *WIDTH, help="the fitted cuff")],
    lop: Annotated[float, number("--lop", *LOP, help="limb occlusion pressure, measured")],
    lop_again: Annotated[float, number("--lop-again", *LOP, help="the same, typed a second time")],
    lop_method: Annotated[str, typer.Option("--lop-method", metavar="METHOD", help=f"how it was measured: {METHODS}")],
    lop_posture: Annotated[str, typer.Option("--lop-posture", metavar="POSTURE", help=f"in which posture: {POSTURES}")],
    lop_cuff_width_cm: Annotated[float, number("--lop-cuff-width-cm", *WIDTH, help="with which cuff")],
    lop_at: Annotated[str, typer.Option("--lop-at", metavar="TIME", help="when, as 2026-11-22T09:30")],
    by: By,
    lop_limb: Annotated[str | None, choice("--lop-limb", LIMBS, help="on which limb, if not on this one")] = None,
    lop_side: Annotated[str | None, choice("--lop-side", SIDES, help="on which side, if not on this one")] = None,
    percent_lop: Annotated[
        float | None, number("--percent-lop", 1.0, 100.0, "%", help="else the protocol's own")
    ] = None,
    cuff: Annotated[int, whole_number("--cuff", 1, 2, help="which cuff of the bench")] = 1,
    bench: Bench = "",
    socket: Socket = "",
    as_json: AsJson = False,
) -> int:
    """Join a protocol to a limb and its occlusion pressure."""
    said = {
        "protocol": str(Path(protocol).resolve()) if protocol.endswith(".toml") else protocol,  # as seen from here
        "code": code,
        "limb": limb,
        "side": side,
        "posture": posture,
        "cuff_width_cm": cuff_width_cm,
        "lop_mmhg": lop,
        "lop_again_mmhg": lop_again,
        "lop_method": lop_method,
        "lop_posture": lop_posture,
        "lop_cuff_width_cm": lop_cuff_width_cm,
        "lop_at": lop_at,
        "lop_limb": lop_limb or limb,
        "lop_side": lop_side or side,
        "by": by,
        "percent_lop": percent_lop,
        "cuff": cuff,
    }
    return say("prescribe", said, bench, socket, as_json)


def start(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Begin the prescribed session: the cuff inflates."""
    return say("start", {}, bench, socket, as_json)


def next_(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """I am here; begin the next set now if the rest allows."""
    return say("next", {}, bench, socket, as_json)


def present(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """I am here."""
    return say("present", {}, bench, socket, as_json)


def stop(context: typer.Context, bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Vent now and end the session; right in every phase."""
    code = say("stop", {}, bench, socket, as_json)
    if context.args:  # said after it is done: nobody who wants it vented is sent back for a word too many
        print(f"manchet: ignored: {' '.join(context.args)}", file=sys.stderr)
    return code


def pause(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Vent now and wait; `next` goes on."""
    return say("pause", {}, bench, socket, as_json)


def lower(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Lower the target; below 40 % of LOP the cuff is released instead."""
    return say("lower", {}, bench, socket, as_json)


def acknowledge(
    condition: Annotated[str, typer.Argument(metavar="[CONDITION]", help="else every alarm that stands")] = "",
    bench: Bench = "",
    socket: Socket = "",
    as_json: AsJson = False,
) -> int:
    """Say that an alarm has been seen."""
    return say("acknowledge", {"condition": condition}, bench, socket, as_json)


def silence(bench: Bench = "", socket: Socket = "", as_json: AsJson = False) -> int:
    """Pause the sound of the alarms for 30 s."""
    return say("silence", {}, bench, socket, as_json)


def reset(
    cuff_off: Annotated[bool, typer.Option("--cuff-off", help="I have seen that the cuff is off the limb")] = False,
    bench: Bench = "",
    socket: Socket = "",
    as_json: AsJson = False,
) -> int:
    """Clear a fault, with the cuff empty (or off the limb where a sensor is dead)."""
    return say("reset", {"cuff_off": cuff_off}, bench, socket, as_json)


def read_answers(path: Path) -> dict[str, Any]:
    """The screening answers as the file has them. Raises Refused: no file, no TOML or JSON, no table."""
    import tomllib

    text = read_file("--answers", path)
    try:
        answers = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        for key, answer in answers.items() if isinstance(answers, dict) else ():
            if isinstance(answer, float) and not math.isfinite(answer):
                raise Refused(f"{path}: {key} = {answer}: must be a whole number")
        json.dumps(answers, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        how = "one line each: true or false, whole numbers, the code in quotes"
        raise Refused(f"--answers = {path}: must be answers, {how} ({error})") from None
    if not isinstance(answers, dict):
        raise Refused(f"--answers = {path}: must be a table of answers")
    return answers
