"""Drive low what a dead guard process has left: the lines it wrote down when it started, where nobody holds them.

For `manchet safe`, and alone (`manchet lines-low`) for what systemd runs after the guard's end. Imports the standard
library, the paths, and lgpio where there is a list at all. A line that somebody holds is left to whoever holds it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

from ..bedside.paths import runtime_folders

SUFFIX: Final = ".lines.json"
OUTPUTS: Final = range(9, 28)  # firmware_bridge.pins has it too; a list may be anybody's, and root may read it


def lines_low() -> int:
    """Every list found. 0: each of its lines is low or held by somebody, or there is none; 1: not every one."""
    whole = True
    for path in lists(runtime_folders()):
        done, text = drive_low(path)
        with contextlib.suppress(OSError, ValueError):  # whether anybody reads it or not
            print(f"{path}: {text}".encode("ascii", "backslashreplace").decode(), flush=True)
        whole = whole and done
    return 0 if whole else 1


def lists(folders: list[Path]) -> list[Path]:
    """The lists in these folders, whoever wrote them."""
    found: list[Path] = []
    for folder in folders:
        try:
            found += sorted(folder.glob(f"*{SUFFIX}"))
        except OSError:  # another user's
            continue
    return found


def bench_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


def drive_low(path: Path) -> tuple[bool, str]:
    """One list: whether every line is low or held, and the words for it. The lines stay claimed until this process
    ends, and low after it."""
    try:
        said = json.loads(path.read_text())
        chip, lines = int(said["chip"]), [int(line) for line in said["lines"]]
        if not set(lines) <= set(OUTPUTS):
            raise ValueError(f"GPIO {lines}: the guard's are {OUTPUTS[0]} to {OUTPUTS[-1]}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, f"the guard's list of lines cannot be read ({error}): cut the supply of pump and valves"
    os.environ.setdefault("LG_WD", str(path.parent))  # where lgpio makes its pipes
    try:
        import lgpio
    except ImportError:
        return False, "lgpio is not installed, so that no line can be driven low: cut the supply of pump and valves"
    return _drive(lgpio, chip, lines)


def _drive(lgpio: Any, chip: int, lines: list[int]) -> tuple[bool, str]:
    lgpio.exceptions = False  # numbers below zero instead
    handle = lgpio.gpiochip_open(chip)
    if handle < 0:
        return False, f"GPIO chip {chip}: {lgpio.error_text(handle)}: cut the supply of pump and valves"
    low, held, failed = [], [], []
    for line in lines:
        answer = lgpio.gpio_claim_output(handle, line, 0)
        if answer >= 0:
            low.append(line)
        elif answer == lgpio.GPIO_BUSY:
            held.append(line)
        else:
            failed.append(f"GPIO {line}: {lgpio.error_text(answer)}")
    words = [f"driven low: GPIO {', '.join(map(str, low))}"] if low else []
    words += [f"held by another process and left to it: GPIO {', '.join(map(str, held))}"] if held else []
    words += [f"NOT low: {'; '.join(failed)}: cut the supply of pump and valves"] if failed else []
    return not failed, "; ".join(words)
