"""Two repetitions regulated and not, as a plain SVG: what the regulator is for, for those who would rather look."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from .compare import two_repetitions

LOP_MMHG: Final = 187.0
TARGET_MMHG: Final = 0.8 * LOP_MMHG
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 60, 740, 50, 290
LOW_MMHG, HIGH_MMHG = 90.0, 200.0
GREEN, RED, BLUE, BROWN = "#3a7d3a", "#a00000", "#005fa3", "#b35900"


def _tag(name: str, text: str = "", **attributes: object) -> str:
    said = "".join(f" {key.replace('_', '-')}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{name}{said}>{escape(text)}</{name}>"


def _y(mmhg: float) -> float:
    return round(TOP + (BOTTOM - TOP) * (HIGH_MMHG - mmhg) / (HIGH_MMHG - LOW_MMHG), 1)


def picture() -> str:
    """Live both sessions in virtual time and draw the same two repetitions of each."""
    curves = (("unregulated", BROWN, two_repetitions(False)), ("regulated", BLUE, two_repetitions(True)))
    longest_s = max(points[-1][0] for _, _, points in curves)

    def x(at_s: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * at_s / longest_s, 1)

    band = _y(TARGET_MMHG * 1.1), _y(TARGET_MMHG * 0.9)
    title = "Two repetitions at 80 % of LOP: true cuff pressure, simulated limb"
    parts = [
        _tag("rect", width=WIDTH, height=HEIGHT, fill="white"),
        _tag("text", title, x=LEFT, y=22, font_size=15),
        _tag("rect", x=LEFT, y=band[0], width=RIGHT - LEFT, height=round(band[1] - band[0], 1), fill="#e3f1e3"),
        _level(TARGET_MMHG, GREEN),
        _level(LOP_MMHG, RED),
        _tag("text", f"LOP {LOP_MMHG:g} mmHg", x=RIGHT, y=_y(LOP_MMHG) - 5, fill=RED, text_anchor="end"),
        _tag("text", f"{TARGET_MMHG:.0f} mmHg ± 10 %", x=RIGHT, y=band[0] - 4, fill=GREEN, text_anchor="end"),
        _tag("text", "mmHg", x=LEFT - 8, y=TOP - 10, text_anchor="end"),
        _tag("text", "seconds", x=(LEFT + RIGHT) // 2, y=HEIGHT - 10, text_anchor="middle"),
        *(_tag("text", str(mmhg), x=LEFT - 8, y=_y(mmhg) + 4, text_anchor="end") for mmhg in range(100, 201, 20)),
        *(
            _tag("text", str(second), x=x(second), y=BOTTOM + 20, text_anchor="middle")
            for second in range(int(longest_s) + 1)
        ),
    ]
    for index, (name, colour, points) in enumerate(curves):
        line = " ".join(f"{x(at_s)},{_y(mmhg)}" for at_s, mmhg in points[::2])
        parts.append(_tag("polyline", points=line, fill="none", stroke=colour, stroke_width=2))
        parts.append(_tag("text", name, x=LEFT + 10 + 110 * index, y=BOTTOM - 8, fill=colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="13">', *parts, "</svg>"]) + "\n"


def _level(mmhg: float, colour: str) -> str:
    return _tag("line", x1=LEFT, y1=_y(mmhg), x2=RIGHT, y2=_y(mmhg), stroke=colour, stroke_dasharray="6 4")
