"""`manchet run`: the service of one bench. Imports no rich, so that the control process carries none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="the bench's settings (TOML)")],
) -> int:
    """Control a bench until told to end (SIGTERM or Ctrl-C vents first)."""
    from ..app import run as serve

    return serve(config)
