"""`manchet guard`, the guard process of a bench on GPIO, and what belongs to it: the physics that its lines may end in,
and its lines driven low when it is gone. All three are also reached before the command line is built (`__main__.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="the bench's settings (TOML)")]


def register(app: typer.Typer) -> None:
    app.command("guard")(guard)
    app.command("lines-low")(lines_low)
    app.command("world", hidden=True)(world)


def guard(config: Config) -> int:
    """Own the output lines of a bench on GPIO, and vent when its controller dies. Started before `run`."""
    from ..guard_process import run as be_guard

    return be_guard(config)


def lines_low() -> int:
    """Drive low the output lines that a dead guard process has left; what somebody holds is left to whoever does."""
    from .lines import lines_low as drive_low

    return drive_low()


def world(config: Config) -> int:
    """Be the physics of a bench whose file has both `[simulated]` and a guard process."""
    from ..world_process import run as be_world

    return be_world(config)
