"""`manchet flash`: the guard's firmware onto its board, and its version read back. The work is in `flashing.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DONE, FAILED, Refused

if TYPE_CHECKING:
    from ..settings import Settings


def register(app: typer.Typer) -> None:
    app.command("flash")(flash)


def flash(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="the bench's settings: their port is the board's")
    ] = None,
    port: Annotated[str, typer.Option("--port", metavar="PORT", help="the board's serial port, instead")] = "",
    console: Annotated[
        str, typer.Option("--console", metavar="PORT", help="its USB console, where it guards over a UART")
    ] = "",
    board: Annotated[
        Path | None, typer.Option("--board", metavar="FILE", help="its wiring, to become its bench.json")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="where calibration.toml is kept; else as for run")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="it does not guard yet: do not ask it to leave its loop")] = (
        False
    ),
) -> int:
    """Copy the guard's firmware to a Raspberry Pi Pico with MicroPython and read its version back.

    With --config and --board the board also gets what its sensors B are corrected with, from their calibration.
    """
    from . import flashing

    if (config is None) is (port == ""):
        raise Refused("one of --config FILE and --port PORT says where the board is")
    bench = None if config is None else _bench(config)
    at, baud = _port(bench, port)
    mpremote = flashing.find_mpremote()
    if state is None and (board is not None or first):
        state = _state()
    corrections = flashing.Corrections(bench, state) if bench is not None and board is not None else None
    wiring = None if board is None else flashing.wiring(board, corrections)
    if first:
        flashing.open_board(at, baud).close()
    else:
        flashing.leave_loop(at, baud)
        print("the board has left its loop; everything is vented")
    if wiring is not None or first:
        flashing.forget_corrections(bench, state)
    print(f"copied {flashing.copy(mpremote, console or at, wiring)} files of the guard")
    print(f"the board answers: {flashing.read_back(at, baud)}")
    if corrections is not None:
        corrections.handed_over()
        print(f"sensor B: {corrections}")
    else:
        print("what it corrects sensor B with is as it was, if anything: --config and --board together write it")
    return DONE


def _state() -> Path:
    from ..bedside.paths import FolderRefused, calibration_folder

    try:
        return calibration_folder()
    except FolderRefused as error:
        raise Refused(str(error), FAILED) from None


def _bench(config: Path) -> Settings:
    from ..settings import load

    bench = load(config)
    if bench.guard.pico is None:
        raise Refused(f'--config = {config}: must be a bench with guard.kind = "pico"')
    return bench


def _port(bench: Settings | None, port: str) -> tuple[str, int]:
    if bench is None or bench.guard.pico is None:
        return port, 115200
    return bench.guard.pico.port, bench.guard.pico.baud
