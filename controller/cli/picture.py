"""The two pictures of the documents, made by living the sessions they show: `make pictures`.

`controller/cli/demo.svg` is the live view in the second set of the preset; `controller/regulator.svg` is what
`manchet compare --svg` draws.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from ..bedside.show import snapshot_json
from ..core.model import Phase
from ..core.step import Stepped
from ..prescription import library
from ..scenario.compare import PRESET
from ..scenario.picture import picture
from ..scenario.run import Lived, Scenario, run_lived
from .view import Picture

WIDTH: Final = 100
SHOWN_SET, SHOWN_REPETITION = 2, 8
# rich's own frame without its link to a font on the net: a picture in a document fetches nothing
FRAME: Final = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>{styles} .{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: \
{line_height}px; }}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" \
height="{terminal_height}"/></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#292929"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def demo_svg() -> str:
    """The live view, well into the second set."""
    quiet = Console(file=io.StringIO(), force_terminal=True, width=WIDTH, record=True, color_system="truecolor")
    shown: list[Picture] = []

    def look(lived: Lived) -> None:
        shown.append(Picture(Console(file=io.StringIO(), width=WIDTH), 60.0))

        def after(_stepped: Stepped, now_s: float) -> None:
            if round(now_s * 100.0) % 10:
                return
            seen = lived.control.snapshot()
            line = msgspec.json.decode(snapshot_json(seen))
            shown[0].show(line)
            if (seen.phase, seen.set_index, seen.repetition) == (Phase.WORKING, SHOWN_SET, SHOWN_REPETITION):
                quiet.print(shown[0].render(line))
                lived.finish()

        lived.control.watch(after)

    run_lived(Scenario(library.named(PRESET)), look)
    shown[0].close()
    return quiet.export_svg(title="", code_format=FRAME, unique_id="manchet")


def main() -> None:
    here = Path(__file__).resolve().parent
    for path, draw in ((here / "demo.svg", demo_svg), (here.parent / "regulator.svg", picture)):
        path.write_text(draw(), encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
