"""Says one thing to the bench and prints what it answers. Imports the standard library and the bedside client only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..bedside.client import REPLY_KEYS, NoAnswer, NoService, Unclear, ask, find_socket, living_sockets
from .endings import BAD_INPUT, DONE, FAILED, Refused, as_exit, complain

PLAIN_VERBS: Final = frozenset(
    {"status", "start", "next", "present", "stop", "pause", "lower", "acknowledge", "silence"}
)

BY_HAND: Final = (
    "if a cuff is under pressure, pull its coupling or press the stop button; `manchet safe` vents every bench it finds"
)


def say(verb: str, args: Mapping[str, object], bench: str, path: str, as_json: bool) -> int:
    """Say it to the bench, print what it answers, and return the exit code."""
    if verb == "stop" and not bench and not path and len(everywhere := living_sockets()) > 1:
        return _stop_all(everywhere, as_json)
    try:
        reply = ask(find_socket(bench, path), verb, args)
    except (NoService, NoAnswer, Unclear) as error:
        text = f"{error}; {BY_HAND}" if verb == "stop" else str(error)
        if as_json:
            _print_json({"ok": False, "verb": verb, "text": text})
        raise Refused(text, as_exit(error)) from None
    if as_json:
        _print_json(reply)
    elif reply["ok"]:
        print(reply["text"])
    else:
        complain(str(reply["text"]), FAILED)
    if reply["ok"]:
        return DONE
    return BAD_INPUT if reply.get("bad_input") else FAILED


def _stop_all(paths: list[Path], as_json: bool) -> int:
    """Whoever says `stop` beside several benches and names none is in a hurry: each of them."""
    code = DONE
    replies: list[dict[str, Any]] = []
    for path in paths:  # all of them before anything is printed: whoever reads may be gone
        try:
            reply = ask(path, "stop")
            text = str(reply["text"])
        except (NoService, NoAnswer) as error:
            reply, text, code = {"ok": False, "verb": "stop"}, f"{error}; {BY_HAND}", as_exit(error)
        replies.append(reply | {"text": f"{path.stem}: {text}"})
    for reply in replies:
        if as_json:
            _print_json(reply)
        else:
            print(reply["text"])
    return code


def say_plainly(verb: str) -> int:
    """A verb without any option: nobody who says `stop` waits for a command line to be built."""
    try:
        return say(verb, {}, "", "", False)
    except Refused as error:
        return complain(str(error), error.code)


def _print_json(reply: Mapping[str, Any]) -> None:
    print(json.dumps({key: reply.get(key) for key in REPLY_KEYS}))
