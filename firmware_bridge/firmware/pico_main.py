"""A Raspberry Pi Pico as guard: its settings, its hardware, its loop. MicroPython 1.22 or newer.

`/main.py` on the board calls `main()`. The board's wiring is in `/bench.json`; what it leaves out is as in DEFAULTS, so
that an empty object is one cuff with an ABP2 on the pins below. All GPIOs of an RP2040 are pulled down at reset, and
every output is high for what keeps pressure: a board that is off, in reset or not yet started is vented.
"""

from .board import APART_MS, PASS_MS, WATCHDOG_MS, Board, Lines
from .guard import TICKS, Guard, ticks_diff
from .pressure import SPANS, Abp2, Mpx5050

SETTINGS_FILE = "bench.json"  # in the folder that a board starts in, its root
READ_MAX = 256  # bytes a pass; leases take 26
ZERO_MAX_DMMHG = 100  # a sensor that is further off is broken
GAIN_MIN_E4, GAIN_MAX_E4 = 9000, 11000  # [J] and so is one beyond these
GPIOS = tuple(range(23)) + (26, 27, 28)  # 23 to 25 are the Pico's own
ANALOGUE = (26, 27, 28)
PWM_MIN_HZ, PWM_MAX_HZ = 100, 40000  # [J] a pump stutters below, a gate driver heats above

DEFAULTS = {
    "serial": "usb",  # or "uart"; USB is the console as well, so Ctrl-C is off while the guard runs
    "uart": {"id": 0, "tx": 0, "rx": 1, "baud": 115200},
    "estop": 15,  # the stop loop, normally closed to ground: high is pressed or broken
    "heartbeat": 14,  # toggled by every pass, to the retriggerable monostable that feeds coils and pumps
    "pwm_hz": 1000,  # of the pumps [J]
    "cuffs": [{}],  # one or two, each as in CUFFS where it says nothing else
}
CUFFS = (
    {"pump": 2, "enable": 3, "vent": 6, "dump": 7, "sensor": {}},
    {"pump": 8, "enable": 9, "vent": 12, "dump": 13, "sensor": {}},
)
SENSORS = {  # by kind, for each cuff; the last two are its calibration, which `manchet flash` writes
    "abp2": (
        {
            "kind": "abp2",
            "i2c": 0,
            "sda": 4,
            "scl": 5,
            "address": 40,
            "part": "600MG",
            "zero_dmmhg": 0,
            "gain_e4": 10000,
        },
        {
            "kind": "abp2",
            "i2c": 1,
            "sda": 10,
            "scl": 11,
            "address": 40,
            "part": "600MG",
            "zero_dmmhg": 0,
            "gain_e4": 10000,
        },
    ),
    "mpx5050": (
        {"kind": "mpx5050", "adc": 26, "supply_adc": 28, "zero_dmmhg": 0, "gain_e4": 10000},
        {"kind": "mpx5050", "adc": 27, "supply_adc": 28, "zero_dmmhg": 0, "gain_e4": 10000},
    ),
}


def settings(given):
    """What `bench.json` says, whole. Raises ValueError with a sentence."""
    whole = _filled("bench.json", given, DEFAULTS)
    whole["uart"] = _filled("uart", whole["uart"], DEFAULTS["uart"])
    if whole["serial"] not in ("usb", "uart"):
        raise ValueError('serial: must be "usb" or "uart"')
    if not PWM_MIN_HZ <= whole["pwm_hz"] <= PWM_MAX_HZ:
        raise ValueError("pwm_hz: " + str(whole["pwm_hz"]) + " must be 100 to 40000")
    cuffs = whole["cuffs"]
    if not isinstance(cuffs, list) or not 1 <= len(cuffs) <= 2:
        raise ValueError("cuffs: must be a list of one or two objects")
    whole["cuffs"] = [_cuff(index, cuff) for index, cuff in enumerate(cuffs)]
    _check_pins(whole)
    return whole


def _cuff(index, given):
    name = "cuffs[" + str(index + 1) + "]"
    cuff = _filled(name, given, CUFFS[index])
    name += ".sensor"
    sensor = cuff["sensor"]
    kind = sensor.get("kind", "abp2") if isinstance(sensor, dict) else ""
    if kind not in SENSORS:
        raise ValueError(name + ": must be an object of kind " + " or ".join(sorted(SENSORS)))
    sensor = cuff["sensor"] = _filled(name, sensor, SENSORS[kind][index])
    if not -ZERO_MAX_DMMHG <= sensor["zero_dmmhg"] <= ZERO_MAX_DMMHG:
        raise ValueError(name + ".zero_dmmhg: must be -100 to 100 (10 mmHg)")
    if not GAIN_MIN_E4 <= sensor["gain_e4"] <= GAIN_MAX_E4:
        raise ValueError(name + ".gain_e4: must be 9000 to 11000 (0.9 to 1.1)")
    if kind == "abp2":
        _check_abp2(name, sensor)
    else:
        for key in ("adc", "supply_adc"):
            if sensor[key] not in ANALOGUE:
                raise ValueError(name + "." + key + ": " + str(sensor[key]) + " must be an analogue input, 26 to 28")
    return cuff


def _check_abp2(name, sensor):
    if sensor["part"] not in SPANS:
        raise ValueError(name + ".part: must be one of " + ", ".join(sorted(SPANS)))
    i2c = sensor["i2c"]
    if i2c not in (0, 1):
        raise ValueError(name + ".i2c: " + str(i2c) + " must be 0 or 1")
    if not 8 <= sensor["address"] <= 0x77:
        raise ValueError(name + ".address: " + str(sensor["address"]) + " must be 8 to 119 (0x77)")
    # RP2040 datasheet, table 2: SDA and SCL of either bus are on every fourth GPIO, in this order.
    for key, place in (("sda", 2 * i2c), ("scl", 2 * i2c + 1)):
        if sensor[key] % 4 != place:
            raise ValueError(name + "." + key + ": GPIO " + str(sensor[key]) + " is not " + key + " of I2C " + str(i2c))


def _filled(name, given, defaults):
    if not isinstance(given, dict):
        raise ValueError(name + ": must be an object")
    whole = dict(defaults)
    for key in given:
        if key not in defaults:
            raise ValueError(name + ": there is no " + str(key) + "; there are " + ", ".join(sorted(defaults)))
        if isinstance(defaults[key], int) and (not isinstance(given[key], int) or isinstance(given[key], bool)):
            raise ValueError(name + "." + key + ": must be a whole number")
        whole[key] = given[key]
    return whole


def _check_pins(whole):
    """Every GPIO exists and has one task; but two sensors may share the converter's input for their supply."""
    taken: dict = {}  # type: ignore[type-arg]
    pins = [("estop", whole["estop"]), ("heartbeat", whole["heartbeat"])]
    if whole["serial"] == "uart":
        pins += [("uart.tx", whole["uart"]["tx"]), ("uart.rx", whole["uart"]["rx"])]
    for index, cuff in enumerate(whole["cuffs"]):
        name = "cuffs[" + str(index + 1) + "]."
        pins += [(name + key, cuff[key]) for key in ("pump", "enable", "vent", "dump")]
        sensor = cuff["sensor"]
        pins += [(name + "sensor." + key, sensor[key]) for key in ("sda", "scl", "adc", "supply_adc") if key in sensor]
    for name, gpio in pins:
        if gpio not in GPIOS:
            raise ValueError(name + ": " + str(gpio) + " must be a GPIO of the board, 0 to 22 or 26 to 28")
        if gpio in taken and not (name.endswith("supply_adc") and taken[gpio].endswith("supply_adc")):
            raise ValueError(name + ": GPIO " + str(gpio) + " is already " + taken[gpio])
        taken[gpio] = name
    if len(whole["cuffs"]) == 2:
        _check_apart(*whole["cuffs"])


def _check_apart(first, second):
    """What the chip has once: GPIO n and n + 16 are one output of its PWM, and a bus has one pair of pins at a time."""
    if first["pump"] % 16 == second["pump"] % 16:
        one, other = str(first["pump"]), str(second["pump"])
        raise ValueError("cuffs[2].pump: GPIO " + other + " is the same PWM output as GPIO " + one + " of cuffs[1]")
    i2c = second["sensor"].get("i2c")
    if i2c is not None and i2c == first["sensor"].get("i2c"):
        raise ValueError("cuffs[2].sensor.i2c: " + str(i2c) + " is the bus of cuffs[1] already")


class UsbSerial:
    """The USB console as bytes. Nothing of it waits: one byte is read only when there is one, and written only when
    there is room for one. More at once would wait half a second for a host that does not read."""

    def __init__(self) -> None:
        from select import POLLIN, POLLOUT, poll
        from sys import stdin, stdout

        self._in = stdin.buffer
        self._out = stdout.buffer
        self._readable = poll()
        self._readable.register(stdin, POLLIN)
        self._writable = poll()
        self._writable.register(stdout, POLLOUT)
        self._rest = b""

    def read(self) -> bytes:
        read: list = []  # type: ignore[type-arg]
        while len(read) < READ_MAX and self._readable.poll(0):
            one = self._in.read(1)
            if not one:
                break
            read.append(one)
        return b"".join(read)

    def ready(self) -> bool:
        """Whether what was written last is gone."""
        if self._rest:
            self.write(b"")
        return not self._rest

    def write(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while at < len(data) and self._writable.poll(0):
            self._out.write(data[at : at + 1])
            at += 1
        self._rest = data[at:]


class UartSerial:
    """A UART with buffers of its own."""

    def __init__(self, uart) -> None:
        self._uart = uart

    def read(self) -> bytes:
        return self._uart.read(READ_MAX) or b""  # None: nothing has come

    def ready(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        self._uart.write(data)


def make_board(whole, now_ms: int) -> Board:
    """The real thing, as `settings` has it. Outputs first, and low."""
    from os import urandom

    from machine import PWM, WDT, Pin

    lines = []
    for cuff in whole["cuffs"]:
        enable = Pin(cuff["enable"], Pin.OUT, value=0)
        vent = Pin(cuff["vent"], Pin.OUT, value=0)
        dump = Pin(cuff["dump"], Pin.OUT, value=0)
        pump = PWM(Pin(cuff["pump"], Pin.OUT, value=0), freq=whole["pwm_hz"], duty_u16=0)
        lines.append(Lines(pump, enable, vent, dump))
    heartbeat = Pin(whole["heartbeat"], Pin.OUT, value=0)
    estop = Pin(whole["estop"], Pin.IN, Pin.PULL_UP)
    sensors = [_sensor(cuff["sensor"]) for cuff in whole["cuffs"]]
    serial = UsbSerial() if whole["serial"] == "usb" else _uart(whole["uart"])
    boot_id = int.from_bytes(urandom(4), "little") or 1  # 0 is no boot
    guard = Guard(boot_id, len(lines), now_ms)
    return Board(guard, serial, lines, sensors, estop, heartbeat, lambda: WDT(timeout=WATCHDOG_MS))


def _uart(at):
    from machine import UART, Pin

    tx, rx = Pin(at["tx"]), Pin(at["rx"])
    return UartSerial(UART(at["id"], at["baud"], tx=tx, rx=rx, timeout=0, rxbuf=512, txbuf=512))


def _sensor(sensor):
    from machine import ADC, I2C, Pin

    zero_dmmhg, gain_e4 = sensor["zero_dmmhg"], sensor["gain_e4"]
    if sensor["kind"] == "mpx5050":
        return Mpx5050(ADC(sensor["adc"]), ADC(sensor["supply_adc"]), zero_dmmhg, gain_e4)
    # A bus that hangs costs a pass 5 ms a transfer, not its 100 ms.
    i2c = I2C(sensor["i2c"], scl=Pin(sensor["scl"]), sda=Pin(sensor["sda"]), freq=400000, timeout=5000)
    return Abp2(i2c, sensor["address"], sensor["part"], zero_dmmhg, gain_e4)


def read_settings(path: str):
    """The settings in a file; the defaults where there is none. Raises ValueError."""
    from json import load

    try:
        file = open(path)  # noqa: PTH123 (MicroPython has no pathlib)
    except OSError:
        return settings({})
    try:
        return settings(load(file))
    finally:
        file.close()


def main() -> None:
    """Guard until told to leave (then the console is back), or until something fails (then the board is reset)."""
    from time import sleep_ms, ticks_ms  # type: ignore[attr-defined]

    from machine import reset
    from micropython import kbd_intr

    kbd_intr(-1)  # first: frames contain byte 3
    try:
        board = make_board(read_settings(SETTINGS_FILE), ticks_ms())
    except BaseException:
        kbd_intr(3)  # nothing is driven yet: let a person in who mends the file
        raise
    due_ms = ticks_ms() & TICKS
    try:
        while board.one_pass(ticks_ms()):
            due_ms = (due_ms + PASS_MS) & TICKS
            left_ms = ticks_diff(due_ms, ticks_ms() & TICKS)
            sleep_ms(max(left_ms, APART_MS))
            if left_ms < APART_MS:
                due_ms = ticks_ms() & TICKS
        board.low()
    except BaseException:
        try:
            board.low()
        finally:
            reset()
    kbd_intr(3)
