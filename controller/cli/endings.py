"""How a command ends: five exit codes, one line for every refusal, logs of one line each.

Imports the standard library and the bedside client only: `run`, `stop` and `safe` begin here.
"""

from __future__ import annotations

import codecs
import io
import logging
import sys
from typing import Final

from ..bedside.client import NoAnswer, NoService

DONE: Final = 0
FAILED: Final = 1  # refused or failed
BAD_INPUT: Final = 2
NO_SERVICE: Final = 3
NO_ANSWER: Final = 4

LEVELS: Final = ("debug", "info", "warning", "error")


PLAIN: Final = {"±": "+-", "–": "-", "−": "-", "µ": "u", "≤": "<=", "×": "x", "…": "...", "▲": "^", "▼": "v", "■": "="}


def print_whatever_the_locale() -> None:
    """A terminal or pipe that knows no UTF-8 gets the nearest ASCII: no sentence is lost for the sake of a sign."""
    codecs.register_error("manchet", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="manchet")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


class Refused(Exception):
    """Ends the command with one line on standard error and this exit code."""

    def __init__(self, text: str, code: int = BAD_INPUT) -> None:
        super().__init__(text)
        self.code = code


def as_exit(error: Exception) -> int:
    """The exit code of what the bedside client raised."""
    if isinstance(error, NoService):
        return NO_SERVICE
    return NO_ANSWER if isinstance(error, NoAnswer) else BAD_INPUT


class OneLine(logging.Formatter):
    """A record is one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return " | ".join(line for line in super().format(record).splitlines() if line.strip())


def log_to_stderr(level: str) -> None:
    """Log from this level on."""
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[to_stderr], force=True)


def complain(text: str, code: int) -> int:
    """One line on standard error; returns the exit code."""
    print(f"manchet: {' '.join(text.split())}", file=sys.stderr)
    return code


def failed(error: BaseException) -> int:
    """What nobody expected, in one line; the traceback is in the log of level debug."""
    logging.getLogger("manchet").debug("the command failed", exc_info=error)
    return complain(f"failed: {type(error).__name__}: {error} (--log-level debug says where)", FAILED)
