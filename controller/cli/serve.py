"""What `manchet run` does. Imports neither typer nor rich: the control process carries none of them."""

from __future__ import annotations

from pathlib import Path

from .endings import FAILED, complain, failed, log_to_stderr


def serve(config: str, level: str = "warning") -> int:
    """Serve the bench of this file until told to end; returns the exit code."""
    log_to_stderr(level)
    try:
        from ..app import run

        return run(Path(config))
    except KeyboardInterrupt:  # before the loop could take it
        return complain("interrupted", FAILED)
    except Exception as error:
        return failed(error)
