# Outpost. `make run` and `make test` are all that most people need; the rest is for who changes it.
# Needs git, make and python3 (3.11 or later) with venv. Everything goes into .venv and .outpost here.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes
# bash: the shell of Debian and of CI; a failing command ends its recipe.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

# -- what is installed where

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Outpost needs Python 3.11 or later as $(PYTHON); set PYTHON=... to name another." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "python3-venv is missing; install it with: sudo apt-get install -y python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) (once, under a minute) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A small launcher: the project is no package, so nothing has to be built to run it.
$(VENV)/bin/outpost: Makefile | $(PY)
	@printf '%s\n' '#!/bin/sh' \
	  'here=$$(dirname "$$(readlink -f "$$0")")' \
	  'PYTHONPATH="$${here%/.venv/bin}$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$here/python" -m appliance "$$@"' \
	  > $@.new && chmod +x $@.new && mv $@.new $@

$(VENV)/run.stamp: requirements.lock | $(PY)
	@$(PIP) -r requirements.lock
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock | $(PY)
	@$(PIP) -r requirements-dev.lock
	@touch $@ $(VENV)/run.stamp

# -- to use it

.PHONY: run
run: $(VENV)/run.stamp $(VENV)/bin/outpost ## the appliance with a simulated modem and sample data
	@exec $(VENV)/bin/outpost demo

.PHONY: install
install: $(VENV)/run.stamp $(VENV)/bin/outpost ## only what `outpost` needs, into .venv

# -- to change it

.PHONY: dev
dev: $(VENV)/dev.stamp $(VENV)/bin/outpost ## .venv with all that the tests and checks need

.PHONY: test
test: dev ## all tests that need no other machine and no Debian package
	$(PY) -m pytest $(PYTEST_ARGS)

.PHONY: lint
lint: dev ## style, types, layers, the systemd files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	systemd/verify.sh

.PHONY: interop
interop: dev ## gammu, gammu-smsd, smstools and Kannel from Debian, both ways (installs them when root)
	tests/interop/run.sh $(PYTEST_ARGS)

.PHONY: bench
bench: dev ## speed, each figure beside its limit; .outpost/bench keeps the numbers
	$(PY) -m tests.bench $(BENCH_ARGS)

.PHONY: bench-radio
bench-radio: dev ## how near the driver comes to what the radio allows, beside gammu-smsd and smstools
	$(PY) tests/bench/radio.py $(BENCH_ARGS)

.PHONY: torture
torture: dev ## kill, fill and garble the whole appliance; TORTURE_ARGS="--rounds 1000 --seed 1"
	$(PY) -m tests.torture $(TORTURE_ARGS)

.PHONY: screenshots
screenshots: dev ## the pictures in README.md and docs/, made anew (needs chromium)
	$(PY) docs/pictures.py

.PHONY: lock
lock: dev ## the two lock files, made anew from pyproject.toml
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

.PHONY: clean
clean: ## everything that can be made again; the demo's data too
	rm -rf $(VENV) .boot .outpost .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
