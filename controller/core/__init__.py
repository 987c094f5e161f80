"""The pure core: no clock, no I/O, no asyncio, no logging; time is passed in. Standard library only."""
