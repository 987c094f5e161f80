"""`manchet selftest`: the bench proves itself cuff by cuff, a person says which cuff filled, and a table is printed.

The test runs in the bench's own process, over its command socket; here is only who asks, answers and reads. Whoever
breaks it off (Ctrl-C) stops it: the bench vents.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..bedside.client import NoAnswer, NoService, Unclear, ask, find_socket, watch
from .options import DONE, FAILED, Bench, Refused, Socket, as_exit
from .say import say

BEGINS_WITHIN_S: Final = 35.0  # where the button at the bench has to be pressed for it
SILENCE_S: Final = 3.0


def register(app: typer.Typer) -> None:
    app.command("selftest")(selftest)


def selftest(
    confirm: Annotated[
        str, typer.Option("--confirm", metavar="WHICH", help="answer a test under way: which cuff filled, or none")
    ] = "",
    bench: Bench = "",
    socket: Socket = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object: ok, outcome, text, rows")] = False,
) -> int:
    """Prove the bench before a patient: inflates each cuff, up to 150 mmHg, for some two minutes."""
    if confirm:
        return say("selftest", {"confirm": confirm}, bench, socket, as_json)
    try:
        path = find_socket(bench, socket)
        told = _run(path)
    except (NoService, NoAnswer, Unclear) as error:
        raise Refused(str(error), as_exit(error)) from None
    result = told.result()
    if as_json:
        print(json.dumps({"ok": told.outcome == "passed", "verb": "selftest", **result}, allow_nan=False))
    else:
        print_table(result)
    return DONE if told.outcome == "passed" else FAILED


@dataclass
class _Told:
    """What the bench has said of the test so far."""

    rows: dict[tuple[str, int | None], dict[str, Any]] = field(default_factory=dict)
    outcome: str = ""
    text: str = ""
    begun: bool = False
    asked: str = ""

    def take(self, one: dict[str, Any]) -> None:
        if one["kind"] == "selftest_ended":
            self.outcome, self.text = one["outcome"], one["text"]
        else:
            row = {key: known for key, known in one.items() if key != "kind"}
            self.rows[row["row"], row["cuff"]] = row

    def result(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "text": self.text, "rows": list(self.rows.values())}


def _run(path: Path) -> _Told:
    """Begin the test and follow it to its end. Raises NoService, NoAnswer, Refused."""
    told = _Told()
    lines = watch(path, SILENCE_S)
    next(lines, None)  # watching before it begins: a bench that fails at once has told all of it in a moment
    reply = ask(path, "selftest")
    if not reply["ok"]:
        raise Refused(str(reply["text"]), FAILED)
    print(f"manchet: {reply['text']}", file=sys.stderr)
    try:
        _follow(path, lines, told)
    except KeyboardInterrupt:
        with suppress(NoService, NoAnswer):
            ask(path, "stop")
        raise Refused("broken off: the bench was told to stop", FAILED) from None
    return told


def _follow(path: Path, lines: Iterator[dict[str, Any]], told: _Told) -> None:
    until_s = time.monotonic() + BEGINS_WITHIN_S
    for line in lines:
        if line.get("type") == "selftest":
            told.begun = True
            for one in line["told"]:
                told.take(one)
            if told.outcome:
                return
        elif line.get("type") == "snapshot":
            told.begun = told.begun or line["phase"] == "testing"
            question = line["waiting_for"] if line["phase"] == "testing" else ""
            if question and question != told.asked:
                _answer(path, question)
            told.asked = question
        if not told.begun and time.monotonic() > until_s:
            raise Refused(
                f"the self-test was not begun within {BEGINS_WITHIN_S:g} s: nobody pressed the button", FAILED
            )
    raise NoAnswer(f"{path}: the bench hung up before its self-test was over")


def _answer(path: Path, question: str) -> None:
    """Ask the person at this terminal until it is one of the answers; without one, say how to answer from another."""
    if not sys.stdin.isatty():
        print(f"manchet: {question}? say: manchet selftest --confirm WHICH", file=sys.stderr)
        return
    print(f"manchet: {question}? ", end="", file=sys.stderr, flush=True)
    while True:
        line = sys.stdin.readline()
        if not line:  # the terminal is gone, or Ctrl-D: nobody has said anything
            raise KeyboardInterrupt
        reply = ask(path, "selftest", {"confirm": line.strip() or "none"})
        print(f"manchet: {reply['text']}", file=sys.stderr)
        if reply["ok"] or question not in reply["text"]:  # a bench that goes on asking says its question again
            return


# --- the table ---------------------------------------------------------------------------------------------------


def print_table(result: dict[str, Any]) -> None:
    """The rows of a self-test for a person: figure, limit, verdict, and what to do."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title="self-test", title_justify="left")
    table.add_column("what")
    table.add_column("cuff", justify="right")
    for name in ("figure", "limit"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in result["rows"]:
        figure = "-" if row["value"] is None else f"{row['value']:.4g} {row['unit']}".strip()
        cuff = "" if row["cuff"] is None else str(row["cuff"])
        table.add_row(row["figure"], cuff, figure, limit_words(row), row["verdict"], style=_STYLES.get(row["verdict"]))
    console.print(table)
    for row in result["rows"]:
        if row["text"]:
            where = "" if row["cuff"] is None else f"cuff {row['cuff']}: "
            console.print(f"{where}{row['figure']}: {row['text']}", markup=False)
    console.print(verdict(result), markup=False, soft_wrap=True)


def verdict(result: dict[str, Any]) -> str:
    """How it ended, and why: the last line of the table."""
    outcome, text = f"self-test {result['outcome']}", str(result["text"])
    return text if text.startswith(outcome) else f"{outcome}: {text}" if text else outcome


_STYLES: Final = {"failed": "bold red", "not done": "dim"}


def limit_words(row: dict[str, Any]) -> str:
    """The limit of a row as a person reads it."""
    low, high, unit = row["low"], row["high"], f" {row['unit']}" if row["unit"] else ""
    if low is None:
        return f"at most {high:g}{unit}"
    if high is None:
        return f"at least {low:g}{unit}"
    if low == high:
        return f"{low:g}{unit}"
    if low == -high:
        return f"± {high:g}{unit}"
    return f"at most {high:g}{unit}" if low == 0.0 else f"{low:g} to {high:g}{unit}"
