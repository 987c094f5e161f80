"""The start button: every way to misuse or break it first, then a press."""

from __future__ import annotations

from random import Random

import pytest

from controller.bedside.button import (
    HOLD_MAX_S,
    HOLD_MIN_S,
    PRESS_MAX_S,
    PRESS_MIN_S,
    RELEASED_S,
    STUCK_S,
    Button,
    Press,
)

LOOK_S = 0.02
NONE, SHORT, HELD = Press.NONE, Press.SHORT, Press.HELD


class Finger:
    """On a button that is looked at every 20 ms."""

    def __init__(self) -> None:
        self.button = Button()
        self.now_s = 50.0
        self.said: list[Press] = []

    def keep(self, down: bool, for_s: float) -> list[Press]:
        """Said during this stretch."""
        said = []
        for _ in range(round(for_s / LOOK_S)):
            press = self.button.look(down, self.now_s)
            self.now_s += LOOK_S
            if press is not NONE:
                said.append(press)
        self.said += said
        return said

    def let_go(self, for_s: float = 1.0) -> list[Press]:
        return self.keep(False, for_s)

    def press(self, for_s: float) -> list[Press]:
        return self.keep(True, for_s)


def test_stuck_at_power_up_starts_nothing_and_is_told() -> None:
    finger = Finger()
    assert finger.press(STUCK_S - 0.1) == []
    assert not finger.button.stuck
    finger.press(3600.0)
    assert finger.button.stuck
    assert finger.let_go() == [], "nor when it comes loose"
    assert not finger.button.stuck
    assert finger.press(0.3) + finger.let_go() == [SHORT]


@pytest.mark.parametrize("held_s", [0.1, 0.5, 1.0, 4.0])
def test_held_at_power_up_is_no_press(held_s: float) -> None:
    finger = Finger()
    assert finger.press(held_s) + finger.let_go() == []


def test_stuck_later_starts_nothing_and_is_told() -> None:
    finger = Finger()
    finger.let_go()
    assert finger.press(STUCK_S + 0.1) == []
    assert finger.button.stuck
    assert finger.press(3600.0) + finger.let_go() == []
    assert not finger.button.stuck


@pytest.mark.parametrize(
    ("held_s", "says"),
    [
        (0.02, []),
        (PRESS_MIN_S - 0.01, []),
        (0.06, [SHORT]),
        (0.3, [SHORT]),
        (PRESS_MAX_S, [SHORT]),
        (PRESS_MAX_S + 0.04, []),
        (HOLD_MIN_S - 0.04, []),
        (HOLD_MIN_S + 0.02, [HELD]),
        (HOLD_MAX_S - 0.02, [HELD]),
        (HOLD_MAX_S + 0.04, []),
    ],
)
def test_how_long_a_press_and_a_hold_are(held_s: float, says: list[Press]) -> None:
    finger = Finger()
    finger.let_go()
    assert finger.press(held_s) == [], "nothing while it is down"
    assert finger.let_go() == says


def test_a_bouncing_contact_is_one_press() -> None:
    for seed in range(200):
        random, finger = Random(seed), Finger()
        finger.let_go()
        for level in (True, False):
            for _ in range(random.randrange(4)):  # up to 60 ms of it, where contacts take 10
                finger.keep(random.random() < 0.5, LOOK_S)
            finger.keep(level, 0.5)
        assert finger.said == [SHORT], seed


def test_hum_on_a_long_wire_is_no_press() -> None:
    random, finger = Random(1), Finger()
    finger.let_go()
    for _ in range(5000):
        finger.press(LOOK_S)
        finger.let_go(LOOK_S)
    assert finger.said == []
    for _ in range(5000):  # two looks at the same level and no more
        finger.press(random.choice((LOOK_S, 2 * LOOK_S)))
        finger.let_go(random.choice((LOOK_S, 2 * LOOK_S)))
    assert finger.said == []


def test_two_presses_are_two_and_too_quick_a_second_is_none() -> None:
    finger = Finger()
    finger.let_go()
    assert finger.press(0.2) + finger.let_go(0.2) + finger.press(0.2) + finger.let_go() == [SHORT, SHORT]
    assert finger.press(0.2) + finger.let_go(RELEASED_S - 0.04) + finger.press(0.2) + finger.let_go() == [SHORT]


def test_not_seen_for_a_while_is_as_at_power_up() -> None:
    finger = Finger()
    finger.let_go()
    finger.press(0.2)
    finger.now_s += 0.5
    assert finger.let_go() == [], "when it was let go is not known"
    finger.now_s += 0.5
    assert finger.press(0.3) + finger.let_go() == [], "nor when it went down"
    assert finger.press(0.3) + finger.let_go() == [SHORT]
    finger.press(0.2)
    finger.now_s -= 5.0
    assert finger.let_go() == [], "time that goes backwards is no time"


def test_a_disturbance_shorter_than_a_press_is_none_however_the_looks_fall() -> None:
    for down_ms in range(1, 46):  # up to a look before the least that counts
        for looks_ms in ((5,), (20, 5), (41, 3, 3)):
            button, now_ms, said = Button(), 0, []
            for look in range(400):
                now_ms += looks_ms[look % len(looks_ms)]
                said.append(button.look(1000 <= now_ms < 1000 + down_ms, now_ms / 1000.0))
            assert set(said) == {NONE}, (down_ms, looks_ms)


def test_one_that_is_stuck_stays_told_when_it_could_not_be_seen_for_a_while() -> None:
    finger = Finger()
    finger.press(STUCK_S + 1.0)
    finger.now_s += 5.0
    finger.press(LOOK_S)
    assert finger.button.stuck
    finger.let_go()
    assert not finger.button.stuck


def test_any_levels_at_all_give_a_press_only_after_a_release_and_a_press_that_ended() -> None:
    for seed in range(50):
        random, button = Random(f"any/{seed}"), Button()
        levels: list[tuple[float, bool]] = []
        now_s, down = 0.0, True
        for _ in range(2000):
            if random.random() < 0.08:
                down = not down
            now_s += random.choice((0.005, 0.02, 0.02, 0.02, 0.05))
            levels.append((now_s, down))
            if button.look(down, now_s) is SHORT:
                recent = [level for at_s, level in levels if now_s - at_s < 3.0]
                assert not recent[-1]
                assert True in recent
                assert False in recent[: len(recent) - recent[::-1].index(True)], "and let go before that"
