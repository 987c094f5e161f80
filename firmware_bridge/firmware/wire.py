"""What host and guard say to each other: framing, checks and the nine messages. Runs on CPython and MicroPython.

A frame is COBS(payload) followed by one zero byte. A payload is version u8, kind u8, sequence u32, the body of its
kind, and the CRC-32 of all of that, little-endian throughout. Pressures are tenths of a mmHg ("dmmhg"), times are
milliseconds of the guard's clock (modulo 2**30), duties are thousandths. Two channels always: a bench with one cuff
leaves the second zero, which means vented.

A decoded message is a plain tuple, its fields in the order of the encoder's arguments after (version, kind, ...):
message[1] is the kind, message[2] the sequence number, message[3:] the body.
"""

from binascii import crc32
from struct import calcsize, pack, unpack_from

VERSION = 1
MAX_FRAME = 64  # encoded bytes without the delimiter; the longest message takes 42

# Kinds. What may let pressure be (ARM, LEASE, RESET) or ends the guard's watch (MAINTENANCE) quotes a recent guard
# time; what only takes away need not.
HELLO = 1  # host: nonce
WELCOME = 2  # guard: nonce, boot_id, guard_ms, firmware, channels
ARM = (
    3  # host: boot_id, guard_ms of the WELCOME, ceiling dmmhg of both, restricted ms left of both; ceiling 0: not used
)
LEASE = 4  # host: guard_ms of the last STATUS, lease_ms, then duty and flags of both
STATUS = 5  # guard: guard_ms, boot_id, state, trip, trip_channel, estop_ok, four counters, refusal, then b, duty, flags
DISARM = 6  # host
TRIP = 7  # host
RESET = 8  # host: boot_id, guard_ms of the last STATUS, cuff_off
MAINTENANCE = 9  # host: boot_id, guard_ms of the last STATUS

_FORMATS = {
    HELLO: "<BBII",
    WELCOME: "<BBIIIIHB",
    ARM: "<BBIIIHHII",
    LEASE: "<BBIIHHBHB",
    STATUS: "<BBIIIBBBBHHHHBhHBhHB",
    DISARM: "<BBI",
    TRIP: "<BBI",
    RESET: "<BBIIIB",
    MAINTENANCE: "<BBIII",
}
_SIZES = {kind: calcsize(layout) + 5 for kind, layout in _FORMATS.items()}  # as framed: with the first code and the CRC
CRC_OF_SOUND = 0x2144DF1C  # the CRC of anything followed by its own CRC

# Flags of a channel, in LEASE what is wanted and in STATUS what is. Zero is vented.
PUMP_ENABLE = 1
VENT_CLOSED = 2
DUMP_CLOSED = 4
BOTH_CLOSED = VENT_CLOSED | DUMP_CLOSED
ALL_FLAGS = PUMP_ENABLE | BOTH_CLOSED

NO_READING = -32768  # sensor B has none
NO_CHANNEL = 255  # a trip of the bench, not of one cuff

# States of the guard
VENTED = 0  # disarmed
ARMED = 1
TRIPPED = 2  # vented and latched until RESET
FLASHING = 3  # vented, and about to leave its loop; until the board is reset

# Why the guard tripped. The words are the names of rules where core has the same rule.
NONE = 0
LEASE_EXPIRED = 1
CEILING = 2
ABSOLUTE_CEILING = 3
RESTRICTED_TIME = 4
PUMP_TOO_LONG = 5
ESTOP = 6
SENSOR_LOST = 7
FRAME_BUDGET = 8
PASS_LATE = 9
HOST_TRIP = 10
BAD_BOOT_ID = 11
NEW_HOST = 12
LINK_LOST = 13
TRIP_WORDS = (
    "",
    "lease_expired",  # the host did not renew its lease in time
    "ceiling",  # B at or above the ceiling of this ARM
    "absolute_ceiling",  # B at or above 330 mmHg
    "restricted_time",  # the limb's remaining restricted time is used up
    "pump_too_long",
    "estop",  # the loop is open: pressed or broken
    "sensor_lost",  # B gave no reading for too long
    "frame_budget",  # too many damaged or repeated frames
    "pass_late",  # the guard's own loop was late, or its clock ran backwards
    "host_trip",  # the host asked for it
    "bad_boot_id",  # the host meant a guard that has rebooted since
    "new_host",  # another host, or the same one restarted, said HELLO while armed
    "link_lost",  # the connection ended
)

# Why the guard last refused an order, for the log; the order had no effect.
REFUSED_NOT_GREETED = 1
REFUSED_STATE = 2
REFUSED_STALE = 3
REFUSED_VALUE = 4
REFUSED_ESTOP = 5
REFUSED_NOT_EMPTY = 6
REFUSED_HELLO = 7
REFUSED_NOISE = 8
REFUSED_BOOT_ID = 9
REFUSAL_WORDS = (
    "",
    "no HELLO since the guard started",
    "not in this state",
    "the guard time it quotes is too old, or the lease too long",
    "a value is outside its limits",
    "the E-stop loop is open",
    "a cuff is not known to be empty",
    "no fresh HELLO before it",
    "too many damaged frames on the link",
    "it is meant for a guard that has rebooted since",
)


def frame(payload: bytes) -> bytes:
    """Add the CRC and make it a frame. The payload must leave the frame within MAX_FRAME, as all of ours do."""
    plain = b"\0" + payload + crc32(payload).to_bytes(4, "little") + b"\0"
    # COBS: each zero becomes the way to the next one. No payload of ours reaches 254 bytes, so a block never needs the
    # code 0xFF. A list of blocks costs CPython as much and MicroPython twice that, for all that it allocates.
    coded = bytearray(plain)
    at = code_at = 0
    for byte in plain:
        if not byte:
            coded[code_at] = at - code_at
            code_at = at
        at += 1
    return bytes(coded)


def hello(seq: int, nonce: int) -> bytes:
    """Led by a delimiter of its own, so that what a dead host left half sent does not swallow it."""
    return b"\0" + frame(pack("<BBII", VERSION, HELLO, seq, nonce))


def welcome(seq: int, nonce: int, boot_id: int, guard_ms: int, firmware: int, channels: int) -> bytes:
    return frame(pack("<BBIIIIHB", VERSION, WELCOME, seq, nonce, boot_id, guard_ms, firmware, channels))


def arm(seq: int, boot_id: int, guard_ms: int, ceiling0: int, ceiling1: int, left0_ms: int, left1_ms: int) -> bytes:
    return frame(pack("<BBIIIHHII", VERSION, ARM, seq, boot_id, guard_ms, ceiling0, ceiling1, left0_ms, left1_ms))


def lease(seq: int, guard_ms: int, lease_ms: int, duty0: int, flags0: int, duty1: int, flags1: int) -> bytes:
    return frame(pack("<BBIIHHBHB", VERSION, LEASE, seq, guard_ms, lease_ms, duty0, flags0, duty1, flags1))


def status(seq: int, *body: int) -> bytes:
    """Body: guard_ms, boot_id, state, trip, trip_channel, estop_ok, bad, other_version, replayed, refused, refusal,
    then b_dmmhg, duty and flags of channel 0 and of channel 1."""
    return frame(pack("<BBIIIBBBBHHHHBhHBhHB", VERSION, STATUS, seq, *body))


def disarm(seq: int) -> bytes:
    return frame(pack("<BBI", VERSION, DISARM, seq))


def trip(seq: int) -> bytes:
    return frame(pack("<BBI", VERSION, TRIP, seq))


def reset(seq: int, boot_id: int, guard_ms: int, cuff_off: int) -> bytes:
    return frame(pack("<BBIIIB", VERSION, RESET, seq, boot_id, guard_ms, cuff_off))


def maintenance(seq: int, boot_id: int, guard_ms: int) -> bytes:
    return frame(pack("<BBIII", VERSION, MAINTENANCE, seq, boot_id, guard_ms))


def newer(seq: int, last: int) -> bool:
    """Whether a sequence number comes after another; 32 bits wrap after 497 days at 100 Hz."""
    return 0 < ((seq - last) & 0xFFFFFFFF) < 0x80000000


class Decoder:
    """Turns bytes as they come into messages. Keeps at most MAX_FRAME bytes; never raises on any bytes.

    `bad` counts frames dropped for length, COBS, CRC, kind or size; `other_version` sound frames of another version,
    whose number is in `version_seen`.
    """

    def __init__(self) -> None:
        self.bad = 0
        self.other_version = 0
        self.version_seen = VERSION
        self._rest = b""
        self._skipping = False  # inside a frame that is already too long

    def feed(self, data: bytes) -> list:  # type: ignore[type-arg]  # MicroPython knows no list[...]
        """The messages that these bytes complete, oldest first, as tuples."""
        blocks = (self._rest + data).split(b"\0")
        rest = blocks.pop()
        messages = []
        for block in blocks:
            if self._skipping:
                self._skipping = False
            elif block:
                message = self._message(block)
                if message:
                    messages.append(message)
        if self._skipping:
            rest = b""
        elif len(rest) > MAX_FRAME:
            rest = b""
            self._skipping = True
            self.bad += 1
        self._rest = rest
        return messages

    def _message(self, block):
        """The message of one frame, or None."""
        size = len(block)
        if size > MAX_FRAME:
            self.bad += 1
            return None
        codes = bytearray(block)
        at = 0
        while at < size:  # each code says how far the next one is; between them stood a zero
            step = codes[at]
            codes[at] = 0
            at += step
        payload = codes[1:]
        # A block whose last code points past its end fails here as well.
        if at != size or crc32(payload) != CRC_OF_SOUND or size < 11:
            self.bad += 1
            return None
        if payload[0] != VERSION:
            self.other_version += 1
            self.version_seen = payload[0]
            return None
        kind = payload[1]
        if _SIZES.get(kind) != size:
            self.bad += 1
            return None
        return unpack_from(_FORMATS[kind], payload)
