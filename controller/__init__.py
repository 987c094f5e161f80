"""Manchet decides: session, regulator, safety and what is said about them. What touches is in `firmware_bridge`."""

__version__ = "0.2.0"
