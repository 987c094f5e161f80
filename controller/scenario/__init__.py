"""Simulated supervisor and patient, fault schedule and measured result; used by `simulate`, `demo` and tests only."""
