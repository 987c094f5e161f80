"""The documents that are generated from the code: written by `make docs`, held against the code by `make check`.

`python -m controller.documents [--check]`: CONFIG.md, MQTT.md, the screening template and the phase diagram.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from . import messages_doc, settings_doc
from .core.model import Phase
from .core.phases import TRANSITIONS, Event, next_phase

_ROOT: Final = Path(__file__).resolve().parent.parent


def phases_md() -> str:
    """The transition table as a diagram and as a table."""
    lines = [
        "# Phases of a session",
        "",
        "Generated from `phases.py` by `make docs`. What is not here is refused. From every phase `trip` leads to",
        "`fault`; `stop` and `end` lead to `stopping` from every phase with a session under way.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> idle",
    ]
    everywhere = {Event.TRIP, Event.STOP, Event.END}
    lines += [
        f"    {phase} --> {to}: {event.replace('_', ' ')}"
        for (phase, event), to in TRANSITIONS.items()
        if event not in everywhere
    ]
    lines += ["```", "", "| phase | " + " | ".join(event.replace("_", " ") for event in Event) + " |"]
    lines.append("|---" * (len(Event) + 1) + "|")
    for phase in Phase:
        row = [str(next_phase(phase, event) or "") for event in Event]
        lines.append(f"| **{phase}** | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write what is generated, or say what is stale. Returns the exit code."""
    code = settings_doc.main(arguments) | messages_doc.main(arguments)
    path = _ROOT / "controller" / "core" / "PHASES.md"
    if arguments != ["--check"]:
        path.write_text(phases_md(), encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != phases_md():
        print("controller/core/PHASES.md is stale: run make docs", file=sys.stderr)
        code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
