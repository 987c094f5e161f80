"""`manchet watch`: the live view, attached to a running bench. It only looks."""

from __future__ import annotations

import typer

from .options import DONE, Bench, Refused, Socket, as_exit

SILENCE_S = 3.0  # a bench shows something ten times a second


def register(app: typer.Typer) -> None:
    app.command("watch")(watch)


def watch(bench: Bench = "", socket: Socket = "") -> int:
    """Show what a running bench does, until Ctrl-C."""
    from ..bedside import client
    from .view import follow, make_view

    try:
        path = client.find_socket(bench, socket)
        client.connect(path, client.ANSWER_S).close()  # say so before a picture is drawn
        follow(client.watch(path, SILENCE_S), make_view())
    except (client.NoService, client.NoAnswer, client.Unclear) as error:
        raise Refused(str(error), as_exit(error)) from None
    except KeyboardInterrupt:
        pass
    return DONE
