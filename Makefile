# Everything a newcomer needs: each target sets up its own environment in .venv and goes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST := $(BIN)/python -m pytest -q --no-header -n $(CORES) --dist worksteal
# What waits on real processes and the real clock leaves the cores alone most of the time: two at once on each.
WAITING := $(shell echo $$((2 * $(CORES))))
# The safety core is gated by its own unit tests alone: branch coverage makes a tick several times slower. What throws
# anything at it, or drives it over whole plants, runs without.
LOOSE := $(addprefix tests/core/, test_safety_any_input.py test_safety_plants.py test_regulator_plants.py)
GATED := $(filter-out $(LOOSE), $(wildcard tests/core/test_*.py)) \
	$(addprefix tests/firmware_bridge/, test_guard.py test_wire.py test_board.py test_pressure.py)

# What there is, when nothing is asked for.
help:
	@echo 'make demo      a whole session on a simulated leg, with a broker and a live view'
	@echo 'make test      the whole suite, some minutes'
	@echo 'make unit      what needs no broker, no clock and no second process'
	@echo 'make sweep     longer campaigns: every preset at both rates, the regulator on its whole grid'
	@echo 'make check     ruff, mypy, import-linter, and whether the generated documents are fresh'
	@echo 'make docs      write the generated documents anew'
	@echo 'make pictures  draw the pictures of the documents anew'
	@echo 'make bench     timing on this machine, about a minute'
	@echo 'make kill-test 200 deaths of controller, guard, bus and supply with each guard, timed to vented: half an hour'
	@echo 'make soak      an hour of sessions on busy cores, in which nothing may trip'
	@echo 'make install   on a Pi, as root (GUARD=pico for a Pico): user, units, program; make uninstall takes it back'
	@echo 'make clean     remove the environment and what tools left'
	@echo 'Each sets up .venv first where it is missing: then `. .venv/bin/activate` and `manchet --help`.'

.PHONY: help demo test sweep kill-test soak unit check docs pictures bench install uninstall clean

demo: $(STAMP)
	$(BIN)/manchet demo

test: $(STAMP)
	$(PYTEST) -m "not slow" --cov --cov-report=term $(GATED)
	$(PYTEST) -n $(WAITING) -m "(process or broker) and not slow" tests
	$(PYTEST) -m "not sweep and (slow or not (process or broker))" tests $(addprefix --ignore=,$(GATED))

# Longer campaigns: every preset at both rates, the regulator on its whole grid, every so many-th I/O call that fails.
EVERY ?= 29
sweep: $(STAMP)
	MANCHET_EVERY=$(EVERY) $(PYTEST) -m sweep tests

# Each way in which guard, controller, buses and supply can die, under pressure, in real time, with each of the two
# guards: half an hour for 200 deaths each, on a machine that does nothing else. Prints how long until all was off.
KILLS ?= 200
kill-test: $(STAMP)
	MANCHET_KILLS=$(KILLS) $(BIN)/python -m pytest -q --no-header -n 0 -k round_and_round tests/process/test_guard_process.py tests/process/test_pico_process.py

# Sessions without end on busy cores: nothing may trip.
MINUTES ?= 60
soak: $(STAMP)
	MANCHET_SOAK=$(MINUTES) $(BIN)/python -m pytest -q --no-header -n 0 tests/process/test_soak.py

# What depends on no broker, no clock and no second process: for a second Python.
unit: $(STAMP)
	$(PYTEST) -m "not slow and not sweep and not process and not broker" tests

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m controller.documents --check
	$(BIN)/python -m firmware_bridge.wiring --check

docs: $(STAMP)
	$(BIN)/python -m controller.documents
	$(BIN)/python -m firmware_bridge.wiring

pictures: $(STAMP)
	$(BIN)/python -m controller.cli.picture

bench: $(STAMP)
	$(BIN)/manchet bench

# On a Raspberry Pi: two services under systemd. GUARD=pico for a bench with a Pico; without it as /etc/manchet/bench.toml
# says, if there is one. DESTDIR=... to look at it first.
GUARD ?=

install:
	@PYTHON='$(PYTHON)' DESTDIR='$(DESTDIR)' systemd/install.sh install $(if $(GUARD),--guard '$(GUARD)')

uninstall:
	@DESTDIR='$(DESTDIR)' systemd/install.sh uninstall

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Manchet needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* build dist
