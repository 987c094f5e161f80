"""Protocols and prescriptions: TOML in, a `Timeline` of the core out; everything refused is refused here, by name."""
