# Each target sets up what it needs. Python 3.11 or later and make are all it takes.

.DEFAULT_GOAL := help
.PHONY: help demo test test-all soak mutants check bench lock fuzz

# What does the work, and what is given to it: make demo ARGS="--seconds 30", make test ARGS="-k listing".
ARGS ?=
# Most tests wait for a peer, so three of them can run side by side even on two cores. A file's tests stay together:
# they share servers. JOBS=0 runs them one after the other.
JOBS ?= 3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# The first Python on PATH that is new enough and can make a venv (Debian keeps ensurepip in python3-venv).
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

help:
	@echo 'make demo      watch the main job run; make demo ARGS="--seconds 30" ends by itself'
	@echo 'make test      the tests, in under ten minutes'
	@echo 'make test-all  with the long matrices'
	@echo 'make soak      thousands of files through a fleet in which something breaks every two seconds'
	@echo 'make mutants   bugs planted in copies of the code, each of which a test has to notice; ARGS=skip_fsync: one'
	@echo 'make check     format, lint, types, direction of imports'
	@echo 'make fuzz      the parsers under a coverage-guided fuzzer, ten minutes each; make fuzz FUZZ_SECONDS=60'
	@echo 'make bench     Towline beside curl, lftp, rclone and ftplib; hours. ARGS="--minutes 40", ARGS=--quick: two'
	@echo 'make lock      pin the newest versions that pyproject.toml allows'

demo: .venv/installed
	@$(BIN)/towline demo $(ARGS)

# A server that can't be fetched is no failure here: its tests say why they skip, and fail under CI=true.
test: .venv/installed-dev
	@$(BIN)/python -m tests.servers.packages || true
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not long and not soak" $(ARGS)

test-all: .venv/installed-dev
	@$(BIN)/python -m tests.servers.packages || true
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not soak" $(ARGS)

# TOWLINE_SOAK_VERSIONS=30000 for a longer one, TOWLINE_SOAK_SEED for the same again; docs/promise.md tells of it.
soak: .venv/installed-bench
	@$(BIN)/python -m tests.servers.packages || true
	@TOWLINE_SOAK_RESULT=docs/soak.json $(BIN)/python -m pytest -m soak $(ARGS)
	@$(BIN)/python -m tests.soak.page

mutants: .venv/installed-dev
	@$(BIN)/python -m tests.servers.packages || true
	@$(BIN)/python -m tests.mutants $(ARGS)

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The fuzzer needs none of our dependencies and ships for few Pythons, so it has an environment of its own. What it
# learned stays there, and is where the next run begins. A find is written there as well: it becomes a test.
FUZZ ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/towline-fuzz
FUZZ_SECONDS ?= 600
fuzz: $(FUZZ)/installed
	@for target in replies listing; do \
		nice -n 19 $(FUZZ)/bin/python -m tests.unit.ftps.fuzz_$$target -max_total_time=$(FUZZ_SECONDS) \
			-artifact_prefix=$(FUZZ)/find-$$target- $(ARGS) $(FUZZ)/inputs-$$target || exit 1; done

$(FUZZ)/installed:
	@test -n "$(PYTHON)" || { echo "Towline needs Python 3.11 or later with venv; none is on PATH." >&2; exit 1; }
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip --disable-pip-version-check -qq install atheris==3.0.0
	@touch $@

# Adds to results/performance.json, and makes the page beside it; ARGS="--out docs" makes the one that is kept.
bench: .venv/installed-bench
	@$(BIN)/python -m tests.bench $(ARGS)

# One set of pins for every Python and platform, with hashes, and without the address they came from.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --upgrade pyproject.toml
lock: .venv/installed-dev
	$(COMPILE) --extra embedded --extra flower --extra postgres --extra object -o requirements.lock
	$(COMPILE) --extra dev -c requirements.lock -o requirements-dev.lock
	$(COMPILE) --extra bench -c requirements-dev.lock -o requirements-bench.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --upgrade -c requirements-dev.lock --group build -o requirements-build.lock

.venv/installed: requirements-build.lock requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Towline needs Python 3.11 or later with venv; none is on PATH." >&2; exit 1; }
	@echo "Setting up .venv ($(PYTHON)); this takes a minute the first time." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements-build.lock
	@$(PIP) install --require-hashes --no-build-isolation -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@$(PIP) install --require-hashes --no-build-isolation -r requirements-dev.lock
	@touch $@

.venv/installed-bench: .venv/installed-dev requirements-bench.lock
	@$(PIP) install --require-hashes --no-build-isolation -r requirements-bench.lock
	@touch $@
