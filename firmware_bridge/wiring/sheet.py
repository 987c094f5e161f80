"""A drawing in the making: boxes, wires, tubes and the symbols of a circuit, as a plain SVG.

Coordinates are pixels, y downwards. Imports the standard library only.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

INK: Final = "#222222"
SUPPLY: Final = "#b3261e"
SIGNAL: Final = "#005fa3"
BUS: Final = "#2e7d32"
AIR: Final = "#8a8f98"
PAPER, PALE, WARM, COOL, LIMB = "#ffffff", "#f4f5f7", "#fdecea", "#e8f1fa", "#f6e7d8"

Point = tuple[float, float]


class Sheet:
    """An SVG in the making."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = width, height
        self._parts: list[str] = []
        self.rect(0, 0, width, height, PAPER, "none")
        self.text(30, 36, title, size=20, weight="bold")

    def svg(self) -> str:
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        return "\n".join([head, *self._parts, "</svg>"]) + "\n"

    def _tag(self, name: str, text: str = "", **attributes: object) -> None:
        said = "".join(f" {key.replace('_', '-')}={quoteattr(str(value))}" for key, value in attributes.items())
        self._parts.append(f"<{name}{said}>{escape(text)}</{name}>")

    def rect(self, x: float, y: float, w: float, h: float, fill: str = PALE, stroke: str = INK, rx: float = 0) -> None:
        self._tag("rect", x=x, y=y, width=w, height=h, fill=fill, stroke=stroke, stroke_width=1.5, rx=rx)

    def text(
        self, x: float, y: float, text: str, size: int = 13, anchor: str = "start", fill: str = INK, weight: str = ""
    ) -> None:
        bold = {"font_weight": weight} if weight else {}
        self._tag("text", text, x=x, y=y, font_size=size, text_anchor=anchor, fill=fill, **bold)

    def box(self, x: float, y: float, w: float, h: float, title: str, *lines: str, fill: str = PALE) -> None:
        """A named part, its lines centred below its name."""
        self.rect(x, y, w, h, fill, rx=5)
        top = y + h / 2 - 8.5 * len(lines) + 5
        self.text(x + w / 2, top, title, size=14, anchor="middle", weight="bold")
        for number, line in enumerate(lines, start=1):
            self.text(x + w / 2, top + 17 * number, line, size=12, anchor="middle")

    def wire(self, colour: str, *points: Point, width: float = 2, over: bool = False) -> None:
        """A line through these points. `over`: what it crosses is interrupted there, not joined."""
        line = " ".join(f"{x:g},{y:g}" for x, y in points)
        if over:
            self._tag("polyline", points=line, fill="none", stroke=PAPER, stroke_width=width + 8)
        self._tag("polyline", points=line, fill="none", stroke=colour, stroke_width=width)

    def tube(self, *points: Point) -> None:
        self.wire(AIR, *points, width=7)

    def arrow(self, colour: str, tip: Point, way: str) -> None:
        """A head whose tip is here, pointing `up`, `down`, `left` or `right`."""
        (x, y), (dx, dy) = tip, {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[way]
        back = x - 10 * dx, y - 10 * dy
        points = f"{x:g},{y:g} {back[0] + 5 * dy:g},{back[1] + 5 * dx:g} {back[0] - 5 * dy:g},{back[1] - 5 * dx:g}"
        self._tag("polygon", points=points, fill=colour)

    def dot(self, x: float, y: float, colour: str = INK) -> None:
        self._tag("circle", cx=x, cy=y, r=4, fill=colour)

    # --- symbols ---

    def ground(self, x: float, y: float) -> None:
        self.wire(INK, (x, y - 8), (x, y))
        for number, half in enumerate((11, 7, 3)):
            self.wire(INK, (x - half, y + 5 * number), (x + half, y + 5 * number))

    def resistor(self, x: float, y: float, name: str, across: bool = False) -> None:
        """Centred here; 40 long."""
        w, h = (40, 14) if across else (14, 40)
        self.rect(x - w / 2, y - h / 2, w, h, PAPER)
        if across:
            self.text(x, y - 12, name, size=12, anchor="middle")
        else:
            self.text(x + 13, y + 4, name, size=12)

    def fuse(self, x: float, y: float, name: str) -> None:
        """Centred here, in a wire that goes across, which is seen through it."""
        self.rect(x - 18, y - 7, 36, 14, "none")
        self.text(x, y + 22, name, size=12, anchor="middle")

    def diode(self, x: float, y: float, name: str = "") -> None:
        """Centred here, conducting upwards."""
        self._tag("polygon", points=f"{x:g},{y - 9:g} {x - 9:g},{y + 9:g} {x + 9:g},{y + 9:g}", fill=INK)
        self.wire(INK, (x - 10, y - 9), (x + 10, y - 9), width=2.5)
        self.text(x + 15, y + 5, name, size=12)

    def capacitor(self, x: float, y: float) -> None:
        """Centred here, in a wire that goes across."""
        self.rect(x - 4, y - 12, 8, 24, PAPER, "none")
        for side in (-4, 4):
            self.wire(INK, (x + side, y - 12), (x + side, y + 12), width=2.5)

    def mosfet(self, x: float, y: float, kind: str, name: str = "") -> None:
        """Drain and source at (x, y ± 30), gate at (x - 34, y); kind N has its source below, P above."""
        self._tag("circle", cx=x - 8, cy=y, r=24, fill=PAPER, stroke=INK, stroke_width=1.5)
        way = (
            f"M{x - 34:g},{y:g} H{x - 22:g} M{x - 22:g},{y - 13:g} V{y + 13:g} M{x - 16:g},{y - 16:g} V{y + 16:g} "
            f"M{x - 16:g},{y - 11:g} H{x:g} V{y - 30:g} M{x - 16:g},{y + 11:g} H{x:g} V{y + 30:g}"
        )
        self._tag("path", d=way, fill="none", stroke=INK, stroke_width=2)
        if kind == "N":  # the arrow is at the source, the way current goes
            self.arrow(INK, (x - 1, y + 11), "right")
        else:
            self.arrow(INK, (x - 15, y - 11), "left")
        self.text(x + 22, y + 5, name, size=12)

    def contact(self, x: float, y: float, colour: str) -> None:
        """A normally closed contact, from (x - 30, y) to (x + 30, y): its blade rests on the far side's upright."""
        self.wire(colour, (x - 30, y), (x - 20, y))
        self.wire(colour, (x + 18, y - 16), (x + 18, y), (x + 30, y))
        self.wire(INK, (x - 20, y), (x + 25, y - 12), width=2.5)
        self.dot(x - 20, y, colour)
