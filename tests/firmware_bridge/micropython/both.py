"""Runs on CPython and on MicroPython: the golden frames, then a long life of one guard. Prints what came of it.

`python both.py FRAMES.json SEED`: the two interpreters must print the same, line for line.
"""

import json
import sys
from binascii import hexlify, unhexlify

from firmware_bridge.firmware import guard, wire

WRAP = 1 << 30
PASSES = 3000


def golden(path):
    """Every golden frame made and read; how many."""
    with open(path) as file:  # noqa: PTH123 (MicroPython has no pathlib)
        rows = json.load(file)
    for row in rows:
        frame = unhexlify(row["frame"])
        made = getattr(wire, row["message"])(*row["arguments"])
        assert made == frame, (row["message"], row["note"], hexlify(made))
        decoder = wire.Decoder()
        (message,) = decoder.feed(frame)
        assert list(message[2:]) == row["arguments"], (row["message"], row["note"], message)
        assert decoder.bad == 0
    return len(rows)


class Dice:
    """The same numbers on both."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 8) % limit


def live(seed):
    """One guard across the wrap of its clock: armed, leased, fed with noise, stopped, reset, for 30 s and more."""
    dice = Dice(seed)
    now_ms = WRAP - 9000
    one = guard.Guard(0xDEADBEEF, 2, now_ms)
    seq = 0
    b_dmmhg = [0, 0]
    estop_ok = True
    quoted_ms = 0
    decoder = wire.Decoder()
    for _ in range(PASSES):
        now_ms += 150 if dice.below(300) == 0 else 8 + dice.below(5)
        seq += 1
        said = b""
        roll = dice.below(40)
        if roll == 0:
            said = wire.hello(seq, dice.below(1 << 20))
        elif roll == 1:
            said = wire.reset(seq, one.boot_id, quoted_ms, dice.below(2))
        elif roll == 2:
            said = bytes([dice.below(256) for _ in range(dice.below(90))])
        elif roll == 3 and dice.below(8) == 0:
            said = (wire.trip(seq), wire.disarm(seq))[dice.below(2)]
        elif one.state == wire.ARMED:
            flags = (wire.ALL_FLAGS, wire.BOTH_CLOSED, 0)[dice.below(3)]
            said = wire.lease(seq, quoted_ms, 250, 100 + dice.below(900), flags, 0, 0)
        elif roll < 8:
            said = wire.hello(seq, dice.below(1 << 20)) + wire.arm(
                seq + 1, one.boot_id, now_ms & 0x3FFFFFFF, 2500, 2000, 60000, 60000
            )
            seq += 1
        if one.outputs[0].flags & wire.PUMP_ENABLE:
            b_dmmhg[0] += one.outputs[0].duty // 20
        elif not one.outputs[0].flags:
            b_dmmhg[0] //= 2
        if dice.below(200) == 0:
            estop_ok = not estop_ok
        if said:
            one.on_bytes(said, now_ms)
        readings = [b_dmmhg[0] if dice.below(20) else wire.NO_READING, dice.below(100)]
        one.tick(now_ms, readings, estop_ok or dice.below(3) > 0)
        estop_ok = True
        sent = one.take_bytes()
        for message in decoder.feed(sent):
            quoted_ms = message[5] if message[1] == wire.WELCOME else message[3]
        outputs = [(channel.duty, channel.flags) for channel in one.outputs]
        print(one.state, one.trip_reason, one.refusal, one.replayed, outputs, hexlify(sent).decode())
    last = guard.Guard(7, 1, now_ms)
    last.on_bytes(wire.hello(1, 9) + wire.maintenance(2, 7, now_ms & 0x3FFFFFFF), now_ms)
    print(last.state, hexlify(last.take_bytes()).decode())


print("golden frames:", golden(sys.argv[1]))
live(int(sys.argv[2]))
