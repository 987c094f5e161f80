"""`manchet flash`: the guard's firmware onto its board, and its version read back. The work is in `flashing.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DONE, Refused


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
    first: Annotated[bool, typer.Option("--first", help="it does not guard yet: do not ask it to leave its loop")] = (
        False
    ),
) -> int:
    """Copy the guard's firmware to a Raspberry Pi Pico with MicroPython and read its version back."""
    from . import flashing

    at, baud = _port(config, port)
    mpremote = flashing.find_mpremote()
    if board is not None:
        flashing.check_board(board)
    if first:
        flashing.open_board(at, baud).close()
    else:
        flashing.leave_loop(at, baud)
        print("the board has left its loop; everything is vented")
    print(f"copied {flashing.copy(mpremote, console or at, board)} files of the guard")
    print(f"the board answers: {flashing.read_back(at, baud)}")
    return DONE


def _port(config: Path | None, port: str) -> tuple[str, int]:
    if (config is None) is (port == ""):
        raise Refused("one of --config FILE and --port PORT says where the board is")
    if config is None:
        return port, 115200
    from ..settings import load

    pico = load(config).guard.pico
    if pico is None:
        raise Refused(f'--config = {config}: must be a bench with guard.kind = "pico"')
    return pico.port, pico.baud
