"""Where `manchet` and `python -m controller` begin.

`safe` comes first and with the standard library only: it must work when nothing else does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own by default) and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["safe"] and not {"--help", "-h"} & set(words):
        from .cli.safe import safe

        return safe()
    from .cli.app import execute

    return execute(words)


if __name__ == "__main__":
    sys.exit(main())
