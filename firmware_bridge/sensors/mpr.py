"""Honeywell MPRLS0300YG pressure sensor on I2C: 0-300 mmHg gauge, transfer function B (2.5-22.5 % of 2^24 counts).

Command, status and faults are the family's (`honeywell24.py`); a frame is four bytes, without temperature. Its scale
ends where a cuff's ceiling search may go on, so a reading near full scale is over-range and no number. It can be sensor
A and never sensor B, whose scale has to reach 345 mmHg.

Source: datasheet MPR; Linux drivers/iio/pressure/mprls0025pa.c; bindings honeywell,mprls0025pa.yaml.
"""

from __future__ import annotations

from typing import Final

from ..ports import I2CBus
from .honeywell24 import Honeywell24, Span

OUTPUT_MIN: Final = 419_430  # 2.5 % of 2^24
OUTPUT_MAX: Final = 3_774_874  # 22.5 %
OVER_RANGE_MMHG: Final = 295.0  # [J] full scale less what its error may hide
SPANS_MMHG: Final = {"0300YG": 300.0}


class Mpr(Honeywell24):
    """One sensor."""

    def __init__(self, bus: I2CBus, address: int = 0x18, name: str = "pressure sensor", part: str = "0300YG") -> None:
        """`part` is the pressure range in the order code.

        Raises:
            ValueError: a part that does not cover a cuff, or no 7-bit address.
        """
        if part not in SPANS_MMHG:
            raise ValueError(
                f"part = {part}: must be {', '.join(SPANS_MMHG)} (others are absolute, or are not for cuffs)"
            )
        span = Span(OUTPUT_MIN, OUTPUT_MAX, SPANS_MMHG[part])
        super().__init__(bus, address, name, span, OVER_RANGE_MMHG, temperature=False)
