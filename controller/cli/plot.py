"""A scrolling line of pressure against its band, in braille dots: two columns and four rows a character.

Knows nothing of the bench or of colours. Pressures are mmHg, times seconds.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import Final, NamedTuple

EMPTY: Final = 0x2800
DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, from the top


class Point(NamedTuple):
    at_s: float
    pressure_mmhg: float  # NaN: not known, and nothing is drawn
    low_mmhg: float  # the band; NaN where there is none
    high_mmhg: float


class Cell(NamedTuple):
    """One character of the picture and what it means."""

    text: str
    trace: bool  # some of the pressure is in it
    inside: bool  # ... and all of it is within the band
    band: bool  # the band goes through it


class Plot:
    """The last `span_s` seconds."""

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self._points: deque[Point] = deque()

    def add(self, point: Point) -> None:
        points = self._points
        if points and point.at_s < points[-1].at_s:
            points.clear()  # another bench, or the same one started again
        points.append(point)
        while points[0].at_s < point.at_s - self.span_s:
            points.popleft()

    def top_mmhg(self) -> float:
        """A round pressure above all that is shown."""
        highest = max([100.0, *(max(p.pressure_mmhg, p.high_mmhg, key=_known) for p in self._points)], key=_known)
        return 50.0 * (int(highest * 1.08 / 50.0) + 1)

    def draw(self, width: int, height: int) -> list[list[Cell]]:
        """Rows from the top, each `width` cells, the newest at the right."""
        columns = self._columns(2 * width)
        per_dot_mmhg = self.top_mmhg() / (4 * height)
        return [
            [_cell(columns[2 * x], columns[2 * x + 1], 4 * (height - 1 - y), per_dot_mmhg) for x in range(width)]
            for y in range(height)
        ]

    def _columns(self, count: int) -> list[_Column | None]:
        columns: list[_Column | None] = [None] * count
        if not self._points:
            return columns
        end_s, last = self._points[-1].at_s, None
        for point in self._points:
            at = int(count - 1 - (end_s - point.at_s) / self.span_s * count)
            if not 0 <= at < count:
                continue
            found = columns[at]
            if found is None:
                found = columns[at] = _Column(point)
                if last is not None and last.reaches(at - count // 60 - 2):
                    found.join(last)
            found.take(point)
            found.at = at
            last = found if isfinite(point.pressure_mmhg) else None
        return columns


class _Column:
    """What one column of dots shows: the span of the pressure in it, and the band."""

    def __init__(self, point: Point) -> None:
        self.low = self.high = self.last = point.pressure_mmhg
        self.band_low, self.band_high = point.low_mmhg, point.high_mmhg
        self.at = 0

    def take(self, point: Point) -> None:
        if isfinite(point.pressure_mmhg):
            self.low = min(point.pressure_mmhg, self.low, key=lambda p: p if isfinite(p) else 1e9)
            self.high = max(point.pressure_mmhg, self.high, key=_known)
        self.last = point.pressure_mmhg
        self.band_low, self.band_high = point.low_mmhg, point.high_mmhg

    def reaches(self, at: int) -> bool:
        return self.at >= at

    def join(self, before: _Column) -> None:
        """Meet the column before half way, so that a steep line has no holes."""
        if isfinite(before.last) and isfinite(self.low):
            middle = (before.last + self.low) / 2
            self.low, self.high = min(self.low, middle), max(self.high, middle)


def _known(pressure_mmhg: float) -> float:
    return pressure_mmhg if isfinite(pressure_mmhg) else -1e9


def _cell(left: _Column | None, right: _Column | None, bottom_dot: int, per_dot_mmhg: float) -> Cell:
    bits, inside, band = 0, True, False
    for x, column in enumerate((left, right)):
        if column is None:
            continue
        cell_low, cell_high = bottom_dot * per_dot_mmhg, (bottom_dot + 4) * per_dot_mmhg
        band = band or (column.band_low < cell_high and column.band_high > cell_low)
        if not isfinite(column.low):
            continue
        low, high = max(0, int(column.low / per_dot_mmhg)), max(0, int(column.high / per_dot_mmhg))
        for dot in range(max(low, bottom_dot), min(high, bottom_dot + 3) + 1):
            bits |= DOTS[x][3 - (dot - bottom_dot)]
            inside = inside and column.band_low <= column.low and column.high <= column.band_high
    if bits:
        return Cell(chr(EMPTY | bits), True, inside, band)
    return Cell(" ", False, False, band)
