"""The wiring drawings of ../README.md: made by `python -m firmware_bridge.wiring [--check]`, which `make docs` calls.

Deterministic. Nothing that runs at a bench imports this.
"""
