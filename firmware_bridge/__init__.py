"""Manchet touches: sensors, guard and the link between. Imports nothing of `controller`."""
