"""What the commands share: the one number parser and the options of the verbs.

Every number option goes through `number` or `whole_number`: NaN, infinity and what is out of range are refused with
the option, the value and the limit.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from .endings import BAD_INPUT as BAD_INPUT
from .endings import DONE as DONE
from .endings import FAILED as FAILED
from .endings import NO_ANSWER as NO_ANSWER
from .endings import NO_SERVICE as NO_SERVICE
from .endings import Refused as Refused
from .endings import as_exit as as_exit


def parse_number(name: str, value: object, low: float, high: float, unit: str = "") -> float:
    """The number that `value` says, within low..high. Raises Refused, naming option, value and limit."""
    bounds = f"{name} = {value}: must be a number between {low:g} and {high:g}{' ' + unit if unit else ''}"
    text = str(value).strip()
    try:
        parsed = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        raise Refused(bounds) from None
    if not (math.isfinite(parsed) and low <= parsed <= high):
        raise Refused(bounds)
    return parsed


def parse_whole_number(name: str, value: object, low: int, high: int) -> int:
    """The whole number that `value` says, within low..high. Raises Refused."""
    text = str(value).strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and low <= int(text) <= high):
        raise Refused(f"{name} = {value}: must be a whole number between {low} and {high}")
    return int(text)


def number(name: str, low: float, high: float, unit: str = "", help: str = "") -> Any:  # noqa: A002
    """A number option for `Annotated[float, number(...)]`."""

    def parse(value: str) -> float:
        return parse_number(name, value, low, high, unit)

    return typer.Option(name, parser=parse, metavar=unit or "NUMBER", help=f"{help} ({low:g} to {high:g})".strip())


def whole_number(name: str, low: int, high: int, help: str = "") -> Any:  # noqa: A002
    """A whole-number option for `Annotated[int, whole_number(...)]`."""

    def parse(value: str) -> int:
        return parse_whole_number(name, value, low, high)

    return typer.Option(name, parser=parse, metavar="N", help=help)


def choice(name: str, choices: tuple[str, ...], help: str = "") -> Any:  # noqa: A002
    """One of a few words, for `Annotated[str, choice(...)]`."""

    def parse(value: str) -> str:
        if value not in choices:
            raise Refused(f"{name} = {value}: must be one of {', '.join(choices)}")
        return value

    return typer.Option(name, parser=parse, metavar="|".join(choices), help=help)


def read_file(name: str, path: Path, most_bytes: int = 1 << 20) -> str:
    """The text of a file that was named. Raises Refused: missing, too long, not text."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise Refused(f"{name} = {path}: must be a file that can be read ({error.strerror})") from None
    if len(data) > most_bytes:
        raise Refused(f"{name} = {path}: must be at most {most_bytes} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{name} = {path}: must be text in UTF-8, not binary") from None


Bench = Annotated[str, typer.Option("--bench", metavar="ID", help="the bench meant, where several are running")]
Socket = Annotated[str, typer.Option("--socket", metavar="PATH", help="the command socket of the bench meant")]
AsJson = Annotated[
    bool, typer.Option("--json", help="print one JSON object: ok, verb, phase, text, value, limit, unit")
]
