"""Honeywell ABP2 pressure sensor on I2C, transfer function A (10-90 % of 2^24 counts).

Command, status and faults are the family's (`honeywell24.py`); a frame is seven bytes, the last three of temperature.

Source: datasheet ABP2 32350268; Linux drivers/iio/pressure/abp2030pa.c.
"""

from __future__ import annotations

from typing import Final

from ..ports import I2CBus
from .honeywell24 import Honeywell24, Span

OUTPUT_MIN: Final = 1_677_722  # 10 % of 2^24
OUTPUT_MAX: Final = 15_099_494  # 90 %
SPANS_MMHG: Final = {  # full scale of the order codes that cover a cuff; 5 psi (258.6) and 400MG (300.0) do not
    "600MG": 450.0369,
    "060KG": 450.0369,
    "001BG": 750.0616,
    "100KG": 750.0616,
    "015PG": 775.7225,
}


class Abp2(Honeywell24):
    """One sensor."""

    def __init__(self, bus: I2CBus, address: int = 0x28, name: str = "pressure sensor", part: str = "600MG") -> None:
        """`part` is the pressure range in the order code.

        Raises:
            ValueError: a part that does not cover a cuff, or no 7-bit address.
        """
        if part not in SPANS_MMHG:
            raise ValueError(f"part = {part}: must be one of {', '.join(SPANS_MMHG)} (others end at 300 mmHg or below)")
        span = Span(OUTPUT_MIN, OUTPUT_MAX, SPANS_MMHG[part])
        super().__init__(bus, address, name, span, span.full_scale_mmhg, temperature=True)
