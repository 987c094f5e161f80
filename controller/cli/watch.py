"""`manchet watch`: the live view, attached to a running bench. It only looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import typer

from .options import DONE, Bench, Refused, Socket, as_exit

SILENCE_S = 3.0  # a bench shows something ten times a second


def register(app: typer.Typer) -> None:
    app.command("watch")(watch)


def watch(bench: Bench = "", socket: Socket = "") -> int:
    """Show what a running bench does, until Ctrl-C."""
    from ..bedside import client
    from .view import follow, make_view

    ended: list[Mapping[str, Any]] = []
    try:
        path = client.find_socket(bench, socket)
        client.connect(path, client.ANSWER_S).close()  # say so before a picture is drawn
        follow(_kept(client.watch(path, SILENCE_S), ended), make_view())
    except (client.NoService, client.NoAnswer, client.Unclear) as error:
        raise Refused(str(error), as_exit(error)) from None
    except KeyboardInterrupt:
        pass
    if ended:
        from rich.console import Console

        from .view import session_table

        session_table(ended[-1], Console(width=None if sys.stdout.isatty() else 110))
    return DONE


def _kept(lines: Iterable[Mapping[str, Any]], ended: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines as they come; the summary of a session stays, so that its table is shown however the looking ends."""
    for line in lines:
        if line.get("type") == "session":
            ended.append(line)
        yield line
