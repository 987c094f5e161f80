"""`manchet schema`: the machine-readable form of what goes out over MQTT."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import DONE, choice


def register(app: typer.Typer) -> None:
    app.command("schema")(schema)


def schema(
    form: Annotated[str, choice("--format", ("json", "asyncapi"), help="JSON Schema or AsyncAPI 3.1")] = "json",
) -> int:
    """Print the schema of the messages."""
    from .. import messages_doc

    print(messages_doc.pretty(messages_doc.json_schema() if form == "json" else messages_doc.asyncapi()).rstrip())
    return DONE
