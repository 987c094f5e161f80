"""What `manchet run`, `manchet guard` and `manchet world` do. Imports neither typer nor rich: the processes that serve
a bench carry none of them."""

from __future__ import annotations

from pathlib import Path

from .endings import FAILED, complain, failed, log_to_stderr

SERVICES = ("run", "guard", "world")


def serve(what: str, config: str, level: str = "warning") -> int:
    """Be one of SERVICES for the bench of this file until told to end; returns the exit code."""
    log_to_stderr(level)
    try:
        if what == "guard":
            from ..guard_process import run as guard

            return guard(Path(config))
        if what == "world":
            from ..world_process import run as world

            return world(Path(config))
        from ..app import run

        return run(Path(config))
    except KeyboardInterrupt:  # before the process could take it
        return complain("interrupted", FAILED)
    except Exception as error:
        return failed(error)
