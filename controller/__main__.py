"""Where `manchet` and `python -m controller` begin.

`safe` and `lines-low` come first and with the standard library only: they must work when nothing else does. Verbs
without an option and `run`, `guard` or `world --config FILE` come before the command line is built too: `stop` should
not wait for it, and the processes it makes should carry nothing of it. Every other form of them, `--help` and mistakes
included, is the command line's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own by default) and return its exit code."""
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except BrokenPipeError:
        sys.stdout = None  # whoever read us is gone: nothing more to say to it
    except KeyboardInterrupt:  # before a command has its own answer to it
        print("manchet: interrupted", file=sys.stderr)
    return 1


def _run(words: list[str]) -> int:
    if words[:1] == ["safe"] and not {"--help", "-h"} & set(words):
        from .cli.safe import safe

        return safe(ignored=words[1:])
    if words == ["lines-low"]:
        from .cli.lines import lines_low

        return lines_low()
    from .cli.endings import print_whatever_the_locale

    print_whatever_the_locale()
    if len(words) == 1:
        from .cli.say import PLAIN_VERBS, say_plainly

        if words[0] in PLAIN_VERBS:
            return say_plainly(words[0])
    if len(words) == 3 and words[1] == "--config":
        from .cli.serve import SERVICES, serve

        if words[0] in SERVICES:
            return serve(words[0], words[2])
    from .cli.app import execute

    return execute(words)


if __name__ == "__main__":
    sys.exit(main())
