"""`manchet guard` and `manchet world`: the guard process of a bench on GPIO, and the physics it may end in.

Both are also reached before the command line is built (`controller/__main__.py`): neither typer nor rich is in the
process that owns the lines.
"""

from __future__ import annotations

from pathlib import Path

from .endings import FAILED, complain, failed, log_to_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """The two as commands, with their options."""
    from typing import Annotated

    import typer

    config = typer.Option("--config", metavar="FILE", help="the bench's settings (TOML)")

    @app.command("guard")
    def guard(file: Annotated[Path, config]) -> int:
        """Own the output lines of a bench on GPIO, and vent when its controller dies. Before `run`."""
        return process("guard", file)

    @app.command("world", hidden=True)
    def world(file: Annotated[Path, config]) -> int:
        """Be the physics of a bench whose file has both `[simulated]` and a guard process."""
        return process("world", file)


def serve(what: str, config: str, level: str = "warning") -> int:
    """`manchet guard --config FILE` or `manchet world --config FILE`, without the command line."""
    log_to_stderr(level)
    return process(what, Path(config))


def process(what: str, config: Path) -> int:
    """Serve until told to end; returns the exit code."""
    try:
        if what == "guard":
            from ..guard_process import run as guard

            return guard(config)
        from ..world_process import run as world

        return world(config)
    except KeyboardInterrupt:  # before the process could take it
        return complain("interrupted", FAILED)
    except Exception as error:
        return failed(error)
