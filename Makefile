# Everything a newcomer needs: each target sets up its own environment in .venv and goes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST := $(BIN)/python -m pytest -q --no-header -n $(CORES) --dist worksteal
# The safety core is gated by its own unit tests alone: branch coverage makes a tick several times slower. What throws
# anything at it, or drives it over whole plants, runs without.
LOOSE := tests/core/test_safety_any_input.py tests/core/test_safety_plants.py
GATED := tests/core tests/firmware_bridge/test_guard.py tests/firmware_bridge/test_wire.py

.PHONY: demo test sweep kill-test unit check docs pictures bench clean

demo: $(STAMP)
	$(BIN)/manchet demo

test: $(STAMP)
	$(PYTEST) -m "not slow" --cov --cov-report=term $(GATED) $(addprefix --ignore=,$(LOOSE))
	$(PYTEST) -m "not slow" $(LOOSE)
	$(PYTEST) -m "not slow and not process and not broker" tests $(addprefix --ignore=,$(GATED))
	$(PYTEST) -m "(process or broker) and not slow" tests
	$(PYTEST) -m "slow and not sweep" tests

# Longer campaigns: every preset at both rates, the regulator on its whole grid.
sweep: $(STAMP)
	$(PYTEST) -m sweep tests

# Each way in which guard, controller, buses and supply can die, under pressure, in real time: about 15 minutes, on a
# machine that does nothing else. Prints how long each took until pump and coils were off.
KILLS ?= 200
kill-test: $(STAMP)
	MANCHET_KILLS=$(KILLS) $(BIN)/python -m pytest -q --no-header -n 0 -k round_and_round tests/process/test_guard_process.py

# What depends on no broker, no clock and no second process: for a second Python.
unit: $(STAMP)
	$(PYTEST) -m "not slow and not process and not broker" tests

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m controller.documents --check

docs: $(STAMP)
	$(BIN)/python -m controller.documents

pictures: $(STAMP)
	$(BIN)/python -m controller.cli.picture

bench: $(STAMP)
	$(BIN)/manchet bench

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Manchet needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* build dist
