"""Write the sheets, or say which are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .benches import gpio_sheet, pico_sheet
from .circuits import circuits_sheet

HERE: Final = Path(__file__).resolve().parent
SHEETS: Final[dict[str, Callable[[], str]]] = {
    "gpio.svg": gpio_sheet,
    "pico.svg": pico_sheet,
    "circuits.svg": circuits_sheet,
}


def main(arguments: list[str], folder: Path = HERE) -> int:
    """Returns the exit code."""
    code = 0
    for name, draw in SHEETS.items():
        path = folder / name
        if arguments != ["--check"]:
            path.write_text(draw(), encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != draw():
            print(f"firmware_bridge/wiring/{name} is stale: run make docs", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
