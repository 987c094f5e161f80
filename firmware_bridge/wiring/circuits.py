"""The circuits that both guards share, with their values: what is judgement and what to measure is in ../README.md."""

from __future__ import annotations

from .sheet import AIR, COOL, INK, SIGNAL, SUPPLY, Sheet


def circuits_sheet() -> str:
    """What both guards share, as circuits."""
    sheet = Sheet(1180, 890, "Circuits, the same for both guards")
    _valve(sheet, 20, 60)
    _pump(sheet, 600, 60)
    _monostable(sheet, 20, 475)
    _stop(sheet, 600, 475)
    return sheet.svg()


def _frame(sheet: Sheet, x: float, y: float, title: str) -> None:
    sheet.rect(x, y, 560, 400, "none", AIR, rx=6)
    sheet.text(x + 16, y + 26, title, size=15, weight="bold")


def _driven_gate(sheet: Sheet, x: float, y: float, line: str) -> None:
    """The gate at (x, y): a line through 220 Ω, pulled down before the gate, so that a cut line is low."""
    sheet.wire(SIGNAL, (x - 176, y), (x, y))
    sheet.text(x - 182, y + 4, line, size=12, anchor="end", fill=SIGNAL)
    sheet.resistor(x - 116, y, "220 Ω", across=True)
    sheet.wire(INK, (x - 41, y), (x - 41, y + 62))
    sheet.dot(x - 41, y)
    sheet.resistor(x - 41, y + 35, "10 k")
    sheet.ground(x - 41, y + 70)


def _low_side(sheet: Sheet, x: float, y: float, line: str, name: str = "") -> None:
    """An N-MOSFET to ground whose drain is at (x, y - 30)."""
    sheet.wire(INK, (x, y + 30), (x, y + 62))
    sheet.ground(x, y + 70)
    _driven_gate(sheet, x - 34, y, line)
    sheet.mosfet(x, y, "N", name)


def _with_flyback(sheet: Sheet, x: float, top: float, name: str) -> None:
    """A load in a wire that goes down, its diode beside it; 110 high."""
    sheet.wire(INK, (x, top), (x, top + 110))
    sheet.wire(INK, (x, top), (x + 76, top), (x + 76, top + 110), (x, top + 110))
    sheet.dot(x, top)
    sheet.dot(x, top + 110)
    sheet.box(x - 38, top + 26, 76, 56, name)
    sheet.diode(x + 76, top + 56)
    sheet.text(x + 76, top + 128, "1N5819", size=12, anchor="middle")


def _valve(sheet: Sheet, x: float, y: float) -> None:
    _frame(sheet, x, y, "Vent and dump valve, each")
    middle = x + 360
    sheet.text(middle, y + 56, "RAIL 6 V", anchor="middle", fill=SUPPLY)
    sheet.wire(SUPPLY, (middle, y + 62), (middle, y + 90), width=3)
    _with_flyback(sheet, middle, y + 90, "coil")
    sheet.wire(INK, (middle, y + 200), (middle, y + 230))
    _low_side(sheet, middle, y + 255, "vent or dump", "N-MOSFET")
    sheet.text(x + 16, y + 384, "Line low, cut or floating: no current, valve open.", size=12)


def _pump(sheet: Sheet, x: float, y: float) -> None:
    _frame(sheet, x, y, "Pump: two switches in series")
    sheet.text(x + 16, y + 48, "4.5 V: the step-down, behind RAIL.", size=12)
    middle, enable = x + 440, x + 270
    sheet.text(middle, y + 36, "RAIL 4.5 V", anchor="middle", fill=SUPPLY)
    sheet.wire(SUPPLY, (middle, y + 42), (middle, y + 70), width=3)
    # the enable's own transistor pulls the P-MOSFET's gate down; without it the gate is at the rail, and closed
    sheet.wire(INK, (middle, y + 52), (middle - 80, y + 52), (middle - 80, y + 100))
    sheet.dot(middle, y + 52)
    sheet.wire(INK, (enable, y + 120), (enable, y + 100), (middle - 34, y + 100))
    sheet.dot(middle - 80, y + 100)
    sheet.resistor(middle - 80, y + 76, "10 k")
    sheet.mosfet(middle, y + 100, "P", "P-MOSFET")
    _low_side(sheet, enable, y + 150, "enable", "N")
    sheet.wire(INK, (middle, y + 130), (middle, y + 146))
    _with_flyback(sheet, middle, y + 146, "pump")
    sheet.wire(INK, (middle, y + 256), (middle, y + 270))
    _low_side(sheet, middle, y + 298, "pump (PWM)", "N-MOSFET")
    sheet.text(x + 16, y + 384, "Either of them open stops the pump.", size=12)


def _monostable(sheet: Sheet, x: float, y: float) -> None:
    _frame(sheet, x, y, "Monostable and supply switch")
    # at its supply
    sheet.text(x + 16, y + 76, "3.3 V", size=12, fill=SUPPLY)
    sheet.wire(INK, (x + 52, y + 72), (x + 122, y + 72), (x + 122, y + 92))
    sheet.capacitor(x + 87, y + 72)
    sheet.text(x + 87, y + 54, "100 nF", size=12, anchor="middle")
    sheet.ground(x + 122, y + 100)
    # the time: R to 3.3 V, C between the two pins made for it
    sheet.text(x + 250, y + 52, "3.3 V", size=12, anchor="middle", fill=SUPPLY)
    sheet.wire(INK, (x + 250, y + 58), (x + 250, y + 130))
    sheet.resistor(x + 250, y + 80, "300 k, 1 %")
    sheet.wire(INK, (x + 250, y + 112), (x + 190, y + 112), (x + 190, y + 130))
    sheet.dot(x + 250, y + 112)
    sheet.capacitor(x + 220, y + 112)
    sheet.text(x + 200, y + 96, "1 µF film", size=12, anchor="end")
    sheet.box(x + 170, y + 130, 130, 165, "74HC123", "half of it,", "at 3.3 V", fill=COOL)
    for at, name in ((155, "B ↑"), (210, "A ↓"), (265, "CLR")):
        sheet.text(x + 176, y + at + 4, name, size=12)
    sheet.text(x + 294, y + 159, "Q", size=12, anchor="end")
    sheet.text(x + 16, y + 144, "heartbeat", size=12, fill=SIGNAL)
    sheet.wire(SIGNAL, (x + 16, y + 155), (x + 170, y + 155))
    sheet.dot(x + 70, y + 155)
    sheet.wire(INK, (x + 70, y + 155), (x + 70, y + 217))
    sheet.resistor(x + 70, y + 188, "10 k")
    sheet.ground(x + 70, y + 225)
    sheet.wire(INK, (x + 170, y + 210), (x + 140, y + 210), (x + 140, y + 225))
    sheet.ground(x + 140, y + 233)
    sheet.wire(INK, (x + 170, y + 265), (x + 132, y + 265))
    sheet.text(x + 126, y + 269, "3.3 V", size=12, anchor="end", fill=SUPPLY)
    _supply_switch(sheet, x + 470, y)
    words = (
        "t = K × R × C. K = 0.45: 300 k, 135 ms. K = 1 (74HC123A, CD4538B): 150 k, 150 ms.",
        "↑ triggers on the rising edge, on a CD4538B A; its ↓, B, goes to 3.3 V, not to ground.",
        "120 to 200 ms from the last rising edge to the rail off. 3.3 V: the guard's board's.",
    )
    for line, text in enumerate(words):
        sheet.text(x + 16, y + 350 + 17 * line, text, size=12)


def _supply_switch(sheet: Sheet, x: float, y: float) -> None:
    """From Q, left of it, to the rail below K1."""
    driver = x - 80
    sheet.text(x, y + 52, "6 V from K1", anchor="middle", fill=SUPPLY)
    sheet.wire(SUPPLY, (x, y + 58), (x, y + 85), width=3)
    sheet.wire(INK, (x, y + 68), (driver, y + 68), (driver, y + 205))
    sheet.dot(x, y + 68)
    sheet.wire(INK, (driver, y + 115), (x - 34, y + 115))
    sheet.dot(driver, y + 115)
    sheet.resistor(driver, y + 91, "10 k")
    sheet.mosfet(x, y + 115, "P", "P-MOS")
    sheet.wire(SUPPLY, (x, y + 145), (x, y + 178), width=3)
    sheet.arrow(SUPPLY, (x, y + 187), "down")
    sheet.text(x + 12, y + 182, "RAIL", fill=SUPPLY)
    sheet.wire(INK, (x - 170, y + 155), (x - 150, y + 155), (x - 150, y + 235), (driver - 34, y + 235))
    sheet.mosfet(driver, y + 235, "N", "N-MOSFET")
    sheet.dot(x - 150, y + 235)
    sheet.wire(INK, (x - 150, y + 235), (x - 150, y + 298))
    sheet.resistor(x - 150, y + 268, "10 k")
    sheet.ground(x - 150, y + 306)
    sheet.wire(INK, (driver, y + 265), (driver, y + 298))
    sheet.ground(driver, y + 306)


def _stop(sheet: Sheet, x: float, y: float) -> None:
    _frame(sheet, x, y, "Stop loop: two poles through both stops")
    bench, hand, relay = x + 190, x + 340, x + 446
    top, low = y + 120, y + 190
    for left, name in ((bench, "bench stop"), (hand, "patient's stop")):
        sheet.rect(left - 55, y + 75, 110, 150, "none", AIR, rx=6)
        sheet.text(left, y + 66, name, size=12, anchor="middle")
        sheet.wire(INK, (left, top - 6), (left, low - 6), width=1.5)  # one press moves both
        sheet.contact(left, top, SUPPLY)
        sheet.contact(left, low, SIGNAL)
    line, fused = y + 322, x + 104
    sheet.text(fused - 8, top + 5, "6 V", anchor="end", fill=SUPPLY)
    sheet.wire(SUPPLY, (bench + 30, top), (hand - 30, top), width=3)
    sheet.wire(SUPPLY, (hand + 30, top), (relay, top), width=3)
    _with_flyback(sheet, relay, top, "K1")
    sheet.wire(INK, (relay, top + 110), (relay, y + 262))
    sheet.ground(relay, y + 270)
    sheet.text(x + 62, low + 5, "guard", anchor="end", fill=SIGNAL)
    sheet.wire(SIGNAL, (x + 70, low), (bench - 30, low))
    sheet.wire(SUPPLY, (fused, line), (fused, top + 8), width=3, over=True)
    sheet.wire(SUPPLY, (fused, top + 9), (fused, top), (bench - 30, top), width=3)
    sheet.wire(SIGNAL, (bench + 30, low), (hand - 30, low))
    sheet.wire(SIGNAL, (hand + 30, low), (x + 400, low), (x + 400, y + 262))
    sheet.ground(x + 400, y + 270)
    # the relay's contact
    sheet.text(x + 42, line + 5, "6 V", anchor="end", fill=SUPPLY)
    sheet.wire(SUPPLY, (x + 48, line), (x + 230, line), width=3)
    sheet.dot(fused, line, SUPPLY)
    sheet.fuse(x + 74, line, "4 A slow")
    sheet.wire(INK, (x + 230, line), (x + 268, line - 15), width=2.5)
    sheet.dot(x + 230, line, SUPPLY)
    sheet.dot(x + 272, line, SUPPLY)
    sheet.wire(SUPPLY, (x + 272, line), (x + 372, line), width=3)
    sheet.arrow(SUPPLY, (x + 382, line), "right")
    sheet.text(x + 390, line + 5, "supply switch")
    sheet.text(fused + 14, line - 26, "contact of K1, open at rest", size=12)
    sheet.text(
        x + 16, y + 367, "The guard's input has a pull-up: high is pressed, unplugged or a broken wire.", size=12
    )
    sheet.text(x + 16, y + 384, "Both poles open in the same press; no software is between a stop and K1.", size=12)
