"""A bench's TOML file, typed and bounded. `load(path)` is the only door.

Imports `core` (whose limits a bench may only tighten) and the TOML door. Every complaint is a `BadInput`, one line that
names file and key. `CONFIG.md` is generated from these structs: `python -m controller.settings_doc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from controller.core import limits as hard
from controller.core.model import Limb
from controller.core.regulator import RegulatorSettings
from controller.tomlfile import MISSING, BadInput, convert, read, read_text

if TYPE_CHECKING:
    import ssl

Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,253}\Z", extra={"must": "a host name or an address"})]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096, extra={"must": "the path of a file"})]


Gpio = Annotated[
    int,
    Meta(
        ge=9,
        le=27,
        extra={"must": "a GPIO from 9 to 27, not 14 or 15 (those are pulled down at reset, so that low means vented)"},
    ),
]
InGpio = Annotated[int, Meta(ge=2, le=27, extra={"must": "a GPIO from 2 to 27, not 14 or 15"})]
SensorKind = Literal["abp2", "mpr", "hsc", "xgzp6847d", "mpx5050"]
_I2C_1_GPIOS: Final = (2, 3)
_SERIAL_GPIOS: Final = (14, 15)
_ADDRESSES: Final[dict[str, int]] = {"abp2": 0x28, "mpr": 0x18, "hsc": 0x28, "xgzp6847d": 0x6D, "mpx5050": 0x48}


class SensorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One pressure sensor: `sensor` is A, at the manifold, for control; `sensor_b` is B, in the cuff, for the guard."""

    bus: Annotated[int, Meta(ge=0, le=255, description="I2C bus: 1 is `/dev/i2c-1`; a Pico counts its own")]
    kind: Annotated[SensorKind, Meta(description="family of the sensor")] = "abp2"
    address: (
        Annotated[
            int,
            Meta(
                ge=0x08,
                le=0x77,
                description="set by the order code; 40 is `0x28`; default: the family's",
                extra={"must": "an I2C address from 8 to 119 (0x08 to 0x77)"},
            ),
        ]
        | None
    ) = None
    part: (
        Annotated[
            str,
            Meta(
                min_length=2,
                max_length=20,
                description="pressure range in the order code, as `600MG`; default: the family's first that covers a "
                "cuff",
            ),
        ]
        | None
    ) = None
    supply_v: (
        Annotated[
            float,
            Meta(ge=4.75, le=5.25, description="of an `mpx5050`, in volts; default: measured on the converter's AIN1"),
        ]
        | None
    ) = None
    divider: Annotated[
        bool,
        Meta(description="`true`: both inputs of an `mpx5050`'s converter, on 3.3 V, come through dividers of 2/3"),
    ] = False
    serial: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=40,
                description="what is written on this very device; its calibration is kept under it",
            ),
        ]
        | None
    ) = None

    @property
    def place(self) -> tuple[int, int]:
        """Bus and address, the family's where none is given."""
        return self.bus, _ADDRESSES[self.kind] if self.address is None else self.address


class LineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The output lines of one cuff, for `guard.kind = \"gpio\"`. Active-high only: low is pump off, valve open."""

    pump_gpio: Annotated[Gpio, Meta(description="PWM of the pump")]
    pump_enable_gpio: Annotated[Gpio, Meta(description="the pump's second switch")]
    vent_gpio: Annotated[Gpio, Meta(description="coil of the vent valve: high closes it")]
    dump_gpio: Annotated[Gpio, Meta(description="coil of the dump valve: high closes it")]


class CuffSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One cuff: a complete channel with pump, vent, dump and sensors of its own."""

    sensor: Annotated[SensorSettings, Meta(description="sensor A")]
    sensor_b: (
        Annotated[SensorSettings, Meta(description="sensor B; asked for with a guard that is not simulated")] | None
    ) = None
    lines: Annotated[LineSettings, Meta(description="its output lines; asked for with the guard `gpio`")] | None = None


class GpioGuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The guard as a process on the Pi, `manchet guard`: it owns the output lines."""

    estop_gpio: Annotated[
        InGpio, Meta(description="the stop loop, normally closed to ground: high is pressed or broken")
    ]
    heartbeat_gpio: (
        Annotated[Gpio, Meta(description="line that the guard's loop toggles, to the retriggerable monostable")] | None
    ) = None
    status_led_gpio: Annotated[Gpio, Meta(description="lit while armed, blinking when tripped")] | None = None
    pwm_hz: Annotated[int, Meta(ge=25, le=100, description="of the pump's PWM")] = 50
    without_heartbeat: (
        Annotated[
            Literal["no patient will be on this bench"],
            Meta(description="the sentence that a bench without `heartbeat_gpio` has to say"),
        ]
        | None
    ) = None


class PicoGuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The guard as firmware on a Raspberry Pi Pico."""

    port: Annotated[FilePath, Meta(description="serial port, as `/dev/manchet-guard` or `/dev/serial/by-id/...`")]
    baud: Annotated[int, Meta(ge=57600, le=921600, description="of a UART; USB does not mind")] = 115200


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The guard that owns the outputs."""

    kind: Annotated[
        Literal["simulated", "gpio", "pico"],
        Meta(
            description="`simulated`: the real guard's code on simulated pins; `gpio`: a process on the Pi; "
            "`pico`: a board"
        ),
    ]
    gpio: Annotated[GpioGuardSettings, Meta(description="with kind `gpio`")] | None = None
    pico: Annotated[PicoGuardSettings, Meta(description="with kind `pico`")] | None = None


class PanelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Button, lamp and buzzer at the bench; what is left out is not fitted. The stop is not here: it is the guard's."""

    start_gpio: Annotated[InGpio, Meta(description="start and next, a contact to ground")] | None = None
    lamp_red_gpio: Annotated[Gpio, Meta(description="of the RGB lamp, high is lit: all three lines or none")] | None = (
        None
    )
    lamp_green_gpio: Annotated[Gpio, Meta(description="of the RGB lamp")] | None = None
    lamp_blue_gpio: Annotated[Gpio, Meta(description="of the RGB lamp")] | None = None
    buzzer_gpio: Annotated[Gpio, Meta(description="of the buzzer: a sounder driven by PWM")] | None = None

    @property
    def lamp_gpios(self) -> tuple[int, int, int] | None:
        """Red, green, blue; None where no lamp is fitted."""
        red, green, blue = self.lamp_red_gpio, self.lamp_green_gpio, self.lamp_blue_gpio
        return None if red is None or green is None or blue is None else (red, green, blue)


class RegulatorTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What the regulator may expect of this bench. It learns the rest from each inflation and each repetition."""

    enabled: Annotated[
        bool, Meta(description="`false` closes the cuff at target and neither tops up nor vents until the next release")
    ] = True
    pump_dead_band: Annotated[
        float, Meta(ge=0.0, le=0.6, description="duty, 0 to 1, below which the pump stands still")
    ] = 0.15
    pump_rate_mmhg_s: Annotated[
        float,
        Meta(ge=2.0, le=200.0, description="rise at full duty near the target, until an inflation has shown it"),
    ] = 25.0


class LimitsTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of this bench. They may only be tighter than the compiled-in ones, which are the defaults."""

    ceiling_mmhg: Annotated[
        float, Meta(ge=100.0, le=250.0, description="trip; the highest target is lowered in the same proportion")
    ] = hard.TRAINING_CEILING_MMHG
    limb_cap_arm_s: Annotated[float, Meta(ge=60.0, le=900.0, description="restricted time of an arm")] = (
        hard.LIMB_CAP_S[Limb.ARM]
    )
    limb_cap_leg_s: Annotated[float, Meta(ge=60.0, le=1200.0, description="restricted time of a leg")] = (
        hard.LIMB_CAP_S[Limb.LEG]
    )
    exercise_cap_s: Annotated[
        float,
        Meta(ge=30.0, le=600.0, description="restricted time of one exercise; the protocol's own applies below it"),
    ] = hard.EXERCISE_CAP_MAX_S


class MqttSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where this bench publishes. It subscribes to nothing."""

    enabled: Annotated[bool, Meta(description="whether it publishes")] = False
    host: Annotated[Host, Meta(description="the broker")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="1883, with TLS 8883")] = 1883
    username: Annotated[str, Meta(min_length=1, max_length=120, description="of this bench at the broker")] | None = (
        None
    )
    password_file: (
        Annotated[FilePath, Meta(description="its first line is the password; readable by the service only")] | None
    ) = None
    tls_ca: (
        Annotated[FilePath, Meta(description="certificates that the broker's is checked with; given, TLS is used")]
        | None
    ) = None


class SimulatedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Physics in place of a bench; with `guard.kind = \"gpio\"` wires of real processes end in it (`manchet world`)."""

    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="of every source of noise")] = 1
    limb: Annotated[Limb, Meta(description="what is in the cuff")] = Limb.LEG
    lop_mmhg: Annotated[
        float, Meta(ge=80.0, le=330.0, description="the limb's true LOP; default: leg, supine, Hughes 2018")
    ] = 187.0
    plant: Annotated[
        dict[str, Annotated[float, Meta(ge=-1e6, le=1e6)]],
        Meta(max_length=50, description="keys of `manchet simulate --list-plant`, as plain numbers"),
    ] = {}


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """One bench."""

    bench_id: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z",
            description="its name in topics, sockets and files",
            extra={"must": "1 to 40 lower-case letters, digits and hyphens"},
        ),
    ]
    cuffs: Annotated[tuple[CuffSettings, ...], Meta(min_length=1, max_length=2, description="one or two channels")]
    guard: Annotated[GuardSettings, Meta(description="the guard that owns the outputs")]
    tick_hz: Annotated[int, Meta(ge=50, le=100, description="how often control runs")] = 100
    require_panel: Annotated[bool, Meta(description="only the button at the bench may start, go on or reset")] = False
    journal: Annotated[FilePath, Meta(description="file of the journal; default: the state folder")] | None = None
    regulator: Annotated[RegulatorTable, Meta(description="what the regulator may expect")] = RegulatorTable()
    limits: Annotated[LimitsTable, Meta(description="limits, tighter than the compiled-in ones")] = LimitsTable()
    mqtt: Annotated[MqttSettings, Meta(description="where it publishes")] = MqttSettings()
    panel: Annotated[PanelSettings, Meta(description="button, lamp and buzzer at the bench")] | None = None
    simulated: Annotated[SimulatedSettings, Meta(description="physics in place of a bench")] | None = None

    def core_limits(self) -> hard.Limits:
        """The limits as the core takes them."""
        table = self.limits
        return hard.Limits(
            ceiling_mmhg=table.ceiling_mmhg,
            limb_cap_arm_s=table.limb_cap_arm_s,
            limb_cap_leg_s=table.limb_cap_leg_s,
            exercise_cap_s=table.exercise_cap_s,
        )

    @property
    def selftest_required(self) -> bool:
        """Whether READY wants a self-test passed since power-up: wherever the wires end in a bench that a person may be
        on, and not in simulated physics."""
        return self.guard.kind != "simulated" and self.simulated is None

    def core_regulator(self) -> RegulatorSettings:
        """The regulator's settings as the core takes them."""
        table = self.regulator
        return RegulatorSettings(
            regulated=table.enabled,
            pump_dead_band=table.pump_dead_band,
            pump_rate_mmhg_s=table.pump_rate_mmhg_s,
        )


def load(path: Path) -> Settings:
    """A bench's file as `Settings`. Paths in it are taken from the file's own folder. Raises BadInput."""
    settings = convert(read(path), Settings, path)
    _check(settings, path)
    return _with_paths_from(settings, path.resolve().parent)


def _check(settings: Settings, source: Path) -> None:
    for number, cuff in enumerate(settings.cuffs, start=1):
        for key, sensor in (("sensor", cuff.sensor), ("sensor_b", cuff.sensor_b)):
            if sensor is not None and sensor.kind != "mpx5050" and (sensor.supply_v is not None or sensor.divider):
                name = "divider" if sensor.divider else "supply_v"
                raise BadInput(source, f"cuffs[{number}].{key}.{name}", MISSING, 'left out unless kind = "mpx5050"')
    simulated = settings.simulated
    if settings.guard.kind == "simulated" and simulated is None:
        raise BadInput(source, "simulated", MISSING, 'given with guard.kind = "simulated": a table, which may be empty')
    for key in simulated.plant if simulated is not None else ():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", key):
            raise BadInput(source, "simulated.plant", key, "keys of `manchet simulate --list-plant`")
    guard = settings.guard
    for kind, table in (("gpio", guard.gpio), ("pico", guard.pico)):
        if guard.kind == kind and table is None:
            raise BadInput(source, f"guard.{kind}", MISSING, f'given with guard.kind = "{kind}"')
        if guard.kind != kind and table is not None:
            raise BadInput(source, f"guard.{kind}", MISSING, f'left out unless guard.kind = "{kind}"')
    for number, cuff in enumerate(settings.cuffs, start=1):
        if guard.kind != "simulated" and cuff.sensor_b is None:
            raise BadInput(source, f"cuffs[{number}].sensor_b", MISSING, f'given with guard.kind = "{guard.kind}"')
        if (guard.kind == "gpio") is (cuff.lines is None):
            must = 'given with guard.kind = "gpio", and with that alone'
            raise BadInput(source, f"cuffs[{number}].lines", MISSING, must)
    _check_lines(settings, source)
    mqtt = settings.mqtt
    if mqtt.password_file is not None and mqtt.username is None:
        raise BadInput(source, "mqtt.username", MISSING, "given with mqtt.password_file")
    _check_panel(settings, source)


def _check_panel(settings: Settings, source: Path) -> None:
    """A lamp has three colours, a button is not on the wires of a sensor, and who asks for a button has one."""
    panel = settings.panel or PanelSettings()
    if settings.require_panel and panel.start_gpio is None:
        raise BadInput(source, "panel.start_gpio", MISSING, "given with require_panel = true: nothing else may start")
    lamp = [(f"panel.lamp_{name}_gpio", getattr(panel, f"lamp_{name}_gpio")) for name in ("red", "green", "blue")]
    if panel.lamp_gpios is None and any(line is not None for _, line in lamp):
        missing = next(key for key, line in lamp if line is None)
        raise BadInput(source, missing, MISSING, "given with the lamp's other lines: a lamp has all three or none")
    sensors = [one for cuff in settings.cuffs for one in (cuff.sensor, cuff.sensor_b) if one is not None]
    if panel.start_gpio in _I2C_1_GPIOS and any(one.bus == 1 for one in sensors):
        raise BadInput(source, "panel.start_gpio", panel.start_gpio, "another than 2 and 3, which are I2C bus 1")


def _check_lines(settings: Settings, source: Path) -> None:
    """Each line has one purpose, and a guard on GPIO has the monostable that vents when it hangs."""
    gpio = settings.guard.gpio
    if gpio is not None and gpio.heartbeat_gpio is None and gpio.without_heartbeat is None:
        must = "given: a guard that hangs is vented by its monostable alone (or guard.gpio.without_heartbeat says that "
        raise BadInput(source, "guard.gpio.heartbeat_gpio", MISSING, must + "no patient will be on this bench)")
    taken: dict[int, str] = {}
    for key, line in gpio_lines(settings):
        if line in _SERIAL_GPIOS:
            must = "another than 14 and 15, which are the serial port and high at boot"
            raise BadInput(source, key, line, must)
        if line in taken:
            raise BadInput(source, key, line, f"another than {taken[line]}: a line has one purpose")
        taken[line] = key


def gpio_lines(settings: Settings) -> Iterator[tuple[str, int]]:
    """Every line that a bench names, with its key."""
    tables: list[tuple[str, Struct | None]] = [
        (f"cuffs[{number}].lines", cuff.lines) for number, cuff in enumerate(settings.cuffs, start=1)
    ]
    tables += [("guard.gpio", settings.guard.gpio), ("panel", settings.panel)]
    for name, table in tables:
        for key, line in structs.asdict(table).items() if table is not None else ():
            if key.endswith("_gpio") and line is not None:
                yield f"{name}.{key}", line


def _with_paths_from(settings: Settings, folder: Path) -> Settings:
    def absolute(name: str | None) -> str | None:
        return None if name is None else str(folder / Path(name).expanduser())

    mqtt = structs.replace(
        settings.mqtt, password_file=absolute(settings.mqtt.password_file), tls_ca=absolute(settings.mqtt.tls_ca)
    )
    return structs.replace(settings, journal=absolute(settings.journal), mqtt=mqtt)


def read_password(mqtt: MqttSettings) -> str | None:
    """The password at the broker, None where there is none. Read when it is needed, never kept. Raises BadInput."""
    if mqtt.password_file is None:
        return None
    lines = read_text(Path(mqtt.password_file)).splitlines()
    if not lines or not lines[0].strip():
        raise BadInput(mqtt.password_file, "", MISSING, "a file whose first line is the password")
    return lines[0].strip()


def read_certificates(mqtt: MqttSettings) -> ssl.SSLContext | None:
    """What the broker's certificate is checked with, None without TLS. Read once, at the start: a connection is tried
    again and again beside the tick, and a file that is gone by then must not matter. Raises BadInput."""
    if mqtt.tls_ca is None:
        return None
    import ssl  # a bench without TLS has no need of it

    # Certificate and name are checked. Not `create_default_context`: from Python 3.13 on that refuses the certificates
    # of many a clinic's own authority for what they leave out, and would break a bench by an update.
    checks = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        checks.load_verify_locations(cafile=mqtt.tls_ca)
    except ssl.SSLError:
        raise BadInput(mqtt.tls_ca, "", MISSING, "a file of certificates in PEM (it holds none)") from None
    except OSError as error:
        raise BadInput(mqtt.tls_ca, "", MISSING, f"a file that can be read ({error.strerror})") from None
    return checks
