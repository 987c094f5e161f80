"""What `mpremote` is to `manchet flash`: the board's files are the folder FLASH, and the world that of `machine.py`.

As the real one, it gets nowhere while the board guards, for Ctrl-C is off. FAILS names a command at which it ends with
an error; NOTHING (set) makes it say that it has done everything, and do nothing.
"""

import os
import shutil
import sys
import time
from itertools import groupby
from pathlib import Path

FLASH, WORLD = Path(os.environ["FLASH"]), Path(os.environ["WORLD"])


def fail(text: str) -> None:
    print("Traceback (most recent call last):", file=sys.stderr)
    print(f"mpremote: {text}", file=sys.stderr)
    raise SystemExit(1)


def in_console() -> bool:
    until_s = time.monotonic() + 2.0
    while time.monotonic() < until_s:
        try:
            os.kill(int((WORLD / "pid").read_text()), 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def on_board(path: str) -> Path:
    assert path.startswith(":/"), path
    return FLASH / path[2:]


_, connect, port, *words = sys.argv
assert connect == "connect"
if not Path(port).exists():
    fail(f"failed to access {port}")
if not in_console():
    fail("could not enter raw repl")
for is_plus, group in groupby(words, lambda word: word == "+"):
    if is_plus:
        continue
    command, *arguments = group
    if command == os.environ.get("FAILS"):
        fail("OSError: [Errno 28] ENOSPC")
    if os.environ.get("NOTHING") and command != "reset":
        continue
    if command == "exec":
        exec(arguments[0].replace("'/", f"'{FLASH}/"), {})
    elif command == "cp":
        shutil.copyfile(arguments[0], on_board(arguments[1]))
    elif command == "reset":
        (WORLD / "reset").write_text("1")
    else:
        fail(f"there is no {command}")
