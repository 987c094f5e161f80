"""A board's start: `main.py` of its flash, which is the current folder, and where that ends, its console."""

import os
import sys

code = 0
try:
    with open("main.py") as file:
        source = file.read()
except OSError:
    source = ""
try:
    exec(source)
except Exception as error:
    sys.print_exception(error, sys.stderr)
    code = 1
if os.getenv("CONSOLE"):
    import console

    console.serve()
sys.exit(code)
