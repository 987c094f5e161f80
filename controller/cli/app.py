"""The command line as a whole: every group registered, every error one line, every ending one of five exit codes.

A group imports what it needs inside its commands: `manchet status` stays quick and `manchet run` carries no rich.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer

from . import bench, calibrate, compare, demo, flash, guard, protocols, run, schema, selftest, simulate, verbs, watch
from .endings import LEVELS, complain, failed, log_to_stderr
from .options import BAD_INPUT, DONE, FAILED, Refused, choice


def build() -> typer.Typer:
    """The typer application."""
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=False,
        help="Manchet: holds a blood-flow-restriction cuff at the prescribed pressure and vents on what it does not "
        "trust. Not a certified medical device.",
    )
    app.callback(invoke_without_command=True)(manchet)
    for group in (
        run, guard, demo, simulate, compare, watch, protocols, calibrate, selftest, schema, bench, flash, verbs,
    ):  # fmt: skip
        group.register(app)
    app.command("safe", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(safe)
    return app


@cache
def _command() -> Any:
    """What typer makes of it: costs 50 ms, so once a process."""
    return typer.main.get_command(build())


def manchet(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print version, Python and wire version")] = False,
    log_level: Annotated[str, choice("--log-level", LEVELS, help="what is logged on standard error")] = "warning",
) -> None:
    """The options before the command."""
    log_to_stderr(log_level)
    if version:
        print(version_line())
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        raise Refused("no command: `manchet --help` lists them")


def safe(context: typer.Context) -> int:
    """Vent every bench found on this machine, with or without a service, and say so step by step."""
    from .safe import safe as make_safe

    return make_safe(ignored=context.args)


def version_line() -> str:
    """Version, Python and wire version, for `--version` and bug reports."""
    import platform

    from firmware_bridge.firmware import wire

    from .. import __version__

    return f"manchet {__version__}, Python {platform.python_version()}, wire {wire.VERSION}"


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises, never prints a traceback unless asked to."""
    try:
        code = _command()(args=list(arguments), prog_name="manchet", standalone_mode=False)
        sys.stdout.flush()
    except Refused as error:
        return complain(str(error), error.code)
    except (KeyboardInterrupt, typer.Abort):
        return complain("interrupted", FAILED)
    except BrokenPipeError:
        sys.stdout = None  # whoever read us is gone: nothing more to say to it
        return FAILED
    except Exception as error:
        said = getattr(error, "format_message", None)  # typer's own: wrong option, missing option, no such command
        if said is not None:
            return _stopped_all_the_same(said()) if arguments[0] == "stop" else complain(said(), BAD_INPUT)
        if _is_bad_input(error):
            return complain(str(error), BAD_INPUT)
        return failed(error)
    return code if isinstance(code, int) else DONE


def _stopped_all_the_same(complaint: str) -> int:
    """`stop` is never bad input: what cannot be understood of it is said once it is done."""
    from .say import say_plainly

    code = say_plainly("stop")
    print(f"manchet: ignored: {complaint}", file=sys.stderr)
    return code


def _is_bad_input(error: Exception) -> bool:
    """Whether a room refused what it was given. Imported here: most commands never need it."""
    from ..prescription.prescribe import Refused as RefusedPrescription
    from ..tomlfile import BadInput

    return isinstance(error, BadInput | RefusedPrescription)
