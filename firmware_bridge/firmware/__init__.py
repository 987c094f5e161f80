"""The part of the safety core that also runs under MicroPython: integers, milliseconds, no typing."""
