"""A bench of wires: settings → sensors on I2C buses, and what can only be checked by who knows the drivers.

Part of the composition root. `check` is asked before anything starts, by `run` and by `check-config`: every complaint
is a `BadInput`, one line. What is only to be known on the bench itself, and is not, is a sentence of `warnings`.
Whoever makes a sensor, on a real bus or a simulated one, makes it with `sensor`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firmware_bridge.ports import I2CBus, Sensor
from firmware_bridge.sensors import abp2, hsc, mpr, mpx5050, xgzp6847d
from firmware_bridge.sensors.bus import LinuxBus

from .settings import SensorSettings, Settings, gpio_lines
from .tomlfile import MISSING, BadInput

B_FULL_SCALE_MMHG: Final = 345.0  # the guard's own ceiling of 330 mmHg, and room to see that it was passed
TWO_CUFFS_HZ: Final = 400_000
I2C_GPIOS: Final = {1: (2, 3), 3: (4, 5)}  # SDA and SCL of a Pi
_OVERLAYS: Final = {1: "dtparam=i2c_arm=on", 3: "dtoverlay=i2c3,pins_4_5"}
PICO_READS: Final = ("abp2", "mpx5050")
PICO_BUSES: Final = (0, 1)
ROOT: Final = Path("/")
PSEUDO_TERMINALS: Final = ("/dev/pts/", "/dev/ttys")  # of Linux, of macOS
_BY_ORDER_CODE: Final = (0x08, 0x18, 0x28, 0x38, 0x48, 0x58, 0x68)  # Honeywell's digits 0 to 6


@dataclass(frozen=True, slots=True)
class Family:
    """What the order code of a family may say. The first part is the default."""

    make: Callable[..., Sensor]
    parts: tuple[str, ...]
    full_scale_mmhg: Mapping[str, float]  # by the part, up to a hyphen
    addresses: tuple[int, ...]
    another_address: str  # how one comes by it; "" where there is only one


FAMILIES: Final = {
    "abp2": Family(
        abp2.Abp2, tuple(abp2.SPANS_MMHG), abp2.SPANS_MMHG, _BY_ORDER_CODE,
        "the digit behind the range in its order code: ABP2…600MG0A3XX is 0x08, …1A3XX 0x18, …2A3XX 0x28, …3A3XX 0x38",
    ),
    "mpr": Family(mpr.Mpr, tuple(mpr.SPANS_MMHG), mpr.SPANS_MMHG, (0x18,), ""),
    "hsc": Family(
        hsc.Hsc, hsc.PARTS, hsc.SPANS_MMHG, _BY_ORDER_CODE,
        "the digit behind the range in its order code: …600MG2A3 is 0x28, …3A3 0x38, …4A3 0x48",
    ),
    "xgzp6847d": Family(
        xgzp6847d.Xgzp6847d, tuple(xgzp6847d.SPANS_MMHG), xgzp6847d.SPANS_MMHG, (xgzp6847d.ADDRESS,), ""
    ),
    "mpx5050": Family(
        mpx5050.Mpx5050, tuple(mpx5050.SPANS_MMHG), mpx5050.SPANS_MMHG, mpx5050.ADDRESSES,
        "the converter's ADDR pin: to ground 0x48, to its supply 0x49, to SDA 0x4a, to SCL 0x4b",
    ),
}  # fmt: skip


# --- making ------------------------------------------------------------------------------------------------------


def part_of(settings: SensorSettings) -> str:
    """The part, the family's first where none is given."""
    return FAMILIES[settings.kind].parts[0] if settings.part is None else settings.part


def sensor(bus: I2CBus, settings: SensorSettings, name: str) -> Sensor:
    """The driver of one sensor on a bus. Raises ValueError for what `check` refuses."""
    more: dict[str, Any] = {}
    if settings.kind == "mpx5050":
        more = {"supply_v": settings.supply_v, "divider": settings.divider}
    return FAMILIES[settings.kind].make(bus, settings.place[1], name, part_of(settings), **more)


class _NoBus:
    """For a driver that is only asked what it is."""

    def i2c_rdwr(self, *i2c_msgs: object) -> None:
        raise OSError(errno.ENODEV, f"no bus for {len(i2c_msgs)} messages")


def scale_mmhg(settings: SensorSettings) -> tuple[float, float]:
    """Lowest and highest reading of a sensor that is not ours to read."""
    driver = sensor(_NoBus(), settings, "")
    return driver.low_mmhg, driver.high_mmhg


def sensors_a(settings: Settings, clock: Callable[[], float]) -> tuple[Sensor, ...]:
    """Sensor A of every cuff, on real buses. Raises OSError with a sentence where one cannot be opened."""
    buses: dict[int, I2CBus] = {}
    return tuple([
        _on_real_bus(cuff.sensor, f"sensor A of cuff {number}", buses, clock)
        for number, cuff in enumerate(settings.cuffs, start=1)
    ])  # fmt: skip


def sensors_b(settings: Settings, clock: Callable[[], float]) -> tuple[Sensor, ...]:
    """Sensor B of every cuff, on real buses of this machine: for a guard that runs on it. Raises OSError."""
    buses: dict[int, I2CBus] = {}
    return tuple([
        _on_real_bus(cuff.sensor_b, f"sensor B of cuff {number}", buses, clock)
        for number, cuff in enumerate(settings.cuffs, start=1)
        if cuff.sensor_b is not None  # settings.load saw to it
    ])  # fmt: skip


def _on_real_bus(settings: SensorSettings, name: str, buses: dict[int, I2CBus], clock: Callable[[], float]) -> Sensor:
    number = settings.bus
    if number not in buses:
        buses[number] = LinuxBus(number, clock)
    return sensor(buses[number], settings, f"{name} on bus {number}")


# --- checking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One sensor of a bench, and where its settings are."""

    key: str
    cuff: int
    settings: SensorSettings
    on_pico: bool  # which counts buses of its own

    @property
    def bus(self) -> tuple[bool, int]:
        return self.on_pico, self.settings.bus


def check(settings: Settings, source: str | Path, root: Path = ROOT) -> None:
    """Whether these sensors exist and can be where they are said to be. `root`: where `/sys` is.

    Raises:
        BadInput: the first thing that is not so, and what would do.
    """
    fitted = tuple(_fitted(settings))
    for one in fitted:
        _check_part(one, source)
    _check_addresses(fitted, source)
    _check_simulated(settings, source)
    for cuff in settings.cuffs:
        if cuff.sensor_b is not None:
            number = settings.cuffs.index(cuff) + 1
            a, b = (one for one in fitted if one.cuff == number)
            _check_b(a, b, source)
    for number, sharing in _shared(settings, fitted):
        speed_hz = bus_speed_hz(number, root)
        if speed_hz is not None and speed_hz < TWO_CUFFS_HZ:
            must = (
                f"a bus at 400 kHz or more where two cuffs share it, and bus {number} runs at {speed_hz / 1000:g} kHz:"
                f" put dtparam=i2c_arm_baudrate=400000 into config.txt, or name another bus"
            )
            raise BadInput(source, f"{sharing.key}.bus", number, must)


def warnings(settings: Settings, root: Path = ROOT) -> tuple[str, ...]:
    """What could not be checked here, and what is left open, a sentence each."""
    fitted = tuple(_fitted(settings))
    slow = [
        f"two cuffs share bus {number} of the Pi, which must run at 400 kHz or more; how fast it runs is not to be seen"
        f" here ({_speed_file(number, root)})"
        for number, _ in _shared(settings, fitted)
        if bus_speed_hz(number, root) is None
    ]
    return *slow, *_lines_of_buses(settings, fitted), *_nameless(settings, fitted)


def _nameless(settings: Settings, fitted: tuple[_Fitted, ...]) -> Iterator[str]:
    """Calibration is kept by what is written on a device."""
    nameless = ", ".join(one.key for one in fitted if one.settings.serial is None)
    if nameless and settings.simulated is None:
        yield (
            f"no `serial` says which device is fitted ({nameless}): another one of its kind in its place would be"
            f" taken for it, with its calibration"
        )


def _lines_of_buses(settings: Settings, fitted: tuple[_Fitted, ...]) -> Iterator[str]:
    """Lines of the bench that are SDA or SCL of a bus with a sensor on it. Overlays differ, so it is no complaint."""
    if settings.simulated is not None:
        return
    used = {one.settings.bus for one in fitted if not one.on_pico}
    wires = {gpio: bus for bus, gpios in I2C_GPIOS.items() if bus in used for gpio in gpios}
    for key, gpio in gpio_lines(settings):
        if gpio in wires:
            bus = wires[gpio]
            yield (
                f"{key} = {gpio}: GPIO {gpio} is SDA or SCL of I2C bus {bus} where that is on GPIO"
                f" {' and '.join(map(str, I2C_GPIOS[bus]))} ({_OVERLAYS[bus]}): take another line, or see that the bus"
                f" is elsewhere"
            )


def bus_speed_hz(number: int, root: Path = ROOT) -> int | None:
    """The clock of an I2C bus as its device tree has it; None where the system does not say."""
    try:
        word = _speed_file(number, root).read_bytes()
    except OSError:
        return None
    return int.from_bytes(word, "big") if len(word) == 4 else None


def _speed_file(number: int, root: Path) -> Path:
    return root / f"sys/class/i2c-adapter/i2c-{number}/of_node/clock-frequency"


def _fitted(settings: Settings) -> Iterator[_Fitted]:
    for number, cuff in enumerate(settings.cuffs, start=1):
        yield _Fitted(f"cuffs[{number}].sensor", number, cuff.sensor, False)
        if cuff.sensor_b is not None:
            yield _Fitted(f"cuffs[{number}].sensor_b", number, cuff.sensor_b, settings.guard.kind == "pico")


def _check_part(one: _Fitted, source: str | Path) -> None:
    """Order code and address of one sensor by itself."""
    family, address = FAMILIES[one.settings.kind], one.settings.place[1]
    if part_of(one.settings) not in family.parts:
        must = f"one of {', '.join(family.parts)} ({one.settings.kind}; ranges that cover a cuff)"
        raise BadInput(source, f"{one.key}.part", one.settings.part, must)
    if one.settings.kind == "xgzp6847d" and address == xgzp6847d.SECOND_GENERATION:
        must = "109 (0x6d): a part at 0x58 is the second generation of that name, with other registers, and not driven"
        raise BadInput(source, f"{one.key}.address", address, must)
    if one.settings.kind in ("xgzp6847d", "mpx5050") and address not in family.addresses:
        raise BadInput(source, f"{one.key}.address", address, f"{_listed(family.addresses)} ({one.settings.kind})")
    if one.on_pico and one.settings.kind not in PICO_READS:
        must = f"{' or '.join(PICO_READS)}: what the firmware of a Pico reads"
        raise BadInput(source, f"{one.key}.kind", one.settings.kind, must)
    if one.on_pico and one.settings.bus not in PICO_BUSES:
        must = "0 or 1: the board's own buses, and what its bench.json has as `i2c`"
        raise BadInput(source, f"{one.key}.bus", one.settings.bus, must)


def _check_simulated(settings: Settings, source: str | Path) -> None:
    """Simulated physics asks for no calibration and no self-test, so that no real board may be at its other end. One
    under MicroPython on this machine is at a pseudo-terminal."""
    pico = settings.guard.pico
    if settings.simulated is None or pico is None:
        return
    port = Path(pico.port).resolve()
    if port.is_relative_to("/dev") and not str(port).startswith(PSEUDO_TERMINALS):
        must = "left out where guard.pico.port is a real board's: with it nothing would be calibrated or tested"
        raise BadInput(source, "simulated", MISSING, must)


def _check_addresses(fitted: tuple[_Fitted, ...], source: str | Path) -> None:
    """No two devices at one address of one bus."""
    taken: dict[tuple[tuple[bool, int], int], _Fitted] = {}
    for one in fitted:
        address = one.settings.place[1]
        other = taken.setdefault((one.bus, address), one)
        if other is not one:
            raise BadInput(source, f"{one.key}.address", address, _apart(one, other, fitted))
    for one in fitted:
        other_generation = taken.get((one.bus, xgzp6847d.SECOND_GENERATION))
        if one.settings.kind == "xgzp6847d" and other_generation is not None:
            must = f"another bus than {one.settings.bus}, where {one.key}, an xgzp6847d, wants nobody at 0x58"
            raise BadInput(source, f"{other_generation.key}.bus", other_generation.settings.bus, must)


def _apart(one: _Fitted, other: _Fitted, fitted: tuple[_Fitted, ...]) -> str:
    """How two devices at one address come apart."""
    family = FAMILIES[one.settings.kind]
    address = f"{one.settings.place[1]:#04x}"
    here = f"another than {address}, which {other.key} has on bus {one.settings.bus}"
    used = {each.settings.place[1] for each in fitted if each.bus == one.bus}
    free = [address for address in family.addresses if address not in used]
    if not free:
        return f"{here}: an {one.settings.kind} can have no other address, so put it on another bus"
    return f"{here}: put it on another bus, or take one at {_listed(tuple(free))} ({family.another_address})"


def _check_b(a: _Fitted, b: _Fitted, source: str | Path) -> None:
    """H-04: what takes A away must not take B away with it, and B must see past the guard's own ceiling."""
    full_scale_mmhg = FAMILIES[b.settings.kind].full_scale_mmhg[part_of(b.settings).partition("-")[0]]
    if full_scale_mmhg < B_FULL_SCALE_MMHG:
        must = (
            f"one with a full scale of {B_FULL_SCALE_MMHG:g} mmHg or more (abp2, hsc, xgzp6847d, mpx5050), for sensor B"
            f" has to see past 330 mmHg; this one ends at {full_scale_mmhg:.0f}"
        )
        raise BadInput(source, f"{b.key}.kind", b.settings.kind, must)
    own_converter = "mpx5050" in (a.settings.kind, b.settings.kind)
    if a.bus == b.bus and not own_converter:
        must = f"another bus than that of {a.key}, or one of the two an mpx5050: one bus that hangs must not take both"
        raise BadInput(source, f"{b.key}.bus", b.settings.bus, must)


def _shared(settings: Settings, fitted: tuple[_Fitted, ...]) -> Iterator[tuple[int, _Fitted]]:
    """Buses of this machine with sensors of two cuffs on them, and a sensor of the second cuff there."""
    if settings.simulated is not None:
        return  # there is no such bus
    first: dict[int, int] = {}
    seen: set[int] = set()
    for one in fitted:
        number = one.settings.bus
        if not one.on_pico and first.setdefault(number, one.cuff) != one.cuff and number not in seen:
            seen.add(number)
            yield number, one


def _listed(addresses: tuple[int, ...]) -> str:
    return " or ".join(f"{address} ({address:#04x})" for address in addresses)
