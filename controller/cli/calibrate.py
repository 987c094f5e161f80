"""`manchet zero` and `manchet calibrate`: what the sensors of a bench read, held against no pressure and a reference.

Both take the bench's lock, so a bench that is being served is refused. Questions and progress are on standard error,
what came of it on standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .options import BAD_INPUT, DONE, FAILED, NO_ANSWER, Refused, choice, whole_number

if TYPE_CHECKING:
    from ..calibrating import Bedside, Gauges
    from ..calibration_file import Entry

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="the bench's settings (TOML)")]
Cuff = Annotated[int | None, whole_number("--cuff", 1, 2, help="of this cuff only")]
Channel = Annotated[str | None, choice("--sensor", ("A", "B"), help="this one only")]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="where calibration.toml is kept; default: as for run by the same user"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object: ok, verb, text, file, sensors")]

SAID_AT_MOST: Final = 40
Work = Callable[["Gauges", int, Path, "Bedside"], "list[Entry]"]


def register(app: typer.Typer) -> None:
    app.command("zero")(zero)
    app.command("calibrate")(calibrate)


def zero(
    config: Config, cuff: Cuff = None, sensor: Channel = None, state: State = None, as_json: AsJson = False
) -> int:
    """Take what the sensors read without pressure as their zero; the bench must not be served meanwhile."""
    from .. import calibrating

    def all_at_once(gauges: Gauges, _index: int, path: Path, bedside: Bedside) -> list[Entry]:
        return calibrating.zero(gauges, range(len(gauges.sensors)), path, _today(), bedside)

    return _carry_out("zero", all_at_once, False, config, cuff, sensor, state, as_json)


def calibrate(
    config: Config,
    cuff: Cuff = None,
    sensor: Channel = None,
    reference: Annotated[str, typer.Option("--reference", metavar="NUMBER", help="of the reference manometer")] = "",
    by: Annotated[str, typer.Option("--by", metavar="INITIALS", help="who does it")] = "",
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Hold the sensors against a reference manometer at three pressures, one sensor after the other."""
    from .. import calibrating

    for name, text in (("--reference", reference), ("--by", by)):
        if len(text) > SAID_AT_MOST or not text.isprintable():
            raise Refused(f"{name} = {text[:SAID_AT_MOST]!a}: must be at most {SAID_AT_MOST} characters")

    def one(gauges: Gauges, index: int, path: Path, bedside: Bedside) -> list[Entry]:
        held = calibrating.Reference(reference or None, by or None)
        return [calibrating.calibrate(gauges, index, path, _today(), bedside, held)]

    return _carry_out("calibrate", one, True, config, cuff, sensor, state, as_json)


def _carry_out(
    verb: str,
    work: Work,
    one_by_one: bool,
    config: Path,
    cuff: int | None,
    channel: str | None,
    state: Path | None,
    as_json: bool,
) -> int:
    """The bench's lock, its gauges, the work, and what is said of it."""
    from .. import hardware
    from ..bedside.lock import BenchLock, BenchTaken
    from ..bedside.paths import FolderRefused, calibration_folder, make_private, runtime_folder, state_folder
    from ..calibrating import Bedside, GuardSilent, NotDone
    from ..calibration import how_to_hand_over
    from ..calibration_file import FILE
    from ..gauges import chosen, open_gauges
    from ..settings import load
    from ..tomlfile import BadInput

    made: list[Entry] = []
    try:
        settings = load(config)
        hardware.check(settings, config)
        sensors = chosen(settings, cuff, channel)
        simulated = settings.guard.kind == "simulated"
        if simulated and one_by_one:
            raise NotDone("a simulated bench has nothing to connect a reference to, and needs no calibration")
        if state is None:
            state = make_private(state_folder() if simulated else calibration_folder())
        bedside = Bedside(_tell, _ask)
        lock = BenchLock(make_private(runtime_folder()), settings.bench_id)
        with lock, closing(open_gauges(settings, state, sensors)) as gauges:
            for index in range(len(sensors)) if one_by_one else (0,):
                made += work(gauges, index, state / FILE, bedside)
    except (BadInput, NotDone, BenchTaken, FolderRefused, OSError) as error:
        code = BAD_INPUT if isinstance(error, BadInput) else NO_ANSWER if isinstance(error, GuardSilent) else FAILED
        text = " ".join(str(error).split())
        if made:
            text += f" ({', '.join(_name(entry) for entry in made)} done and kept)"
        if as_json:
            print(json.dumps({"ok": False, "verb": verb, "text": text, "file": None, "sensors": _rows(made)}))
        raise Refused(text, code) from None
    text = ". ".join(_sentence(entry) for entry in made)
    if simulated:
        text += ". A simulated bench makes no use of it"
    elif any(entry.channel == "B" for entry in made):
        text += f". The guard has to be given this: {how_to_hand_over(settings)}"
    if as_json:
        print(json.dumps({"ok": True, "verb": verb, "text": text, "file": str(state / FILE), "sensors": _rows(made)}))
    else:
        print(f"{text}\nwritten to {state / FILE}")
    return DONE


def _sentence(entry: Entry) -> str:
    two = entry.two_points
    text = f"{_name(entry)}: zero at {entry.offset_mmhg:+.2f} mmHg"
    if two is None:
        return f"{text}, never calibrated"
    calibrated = f"gain {two.gain:.4f}, {two.residual_mmhg:+.2f} mmHg off at {two.check_reference_mmhg:g} mmHg"
    return f"{text}, {calibrated}, calibrated on {two.calibrated_on.isoformat()}"


def _name(entry: Entry) -> str:
    return f"sensor {entry.channel} of cuff {entry.cuff}"


def _rows(made: list[Entry]) -> list[dict[str, Any]]:
    from msgspec import to_builtins

    return [to_builtins(entry) for entry in made]


def _today() -> Any:
    return datetime.now(UTC).date()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ask(question: str) -> str:
    from ..calibrating import NotDone

    print(question, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise NotDone("nobody answers on standard input: run it in a terminal")
    return answer.rstrip("\n")
