# `make` lists the commands. The first one that needs it makes .venv; nothing is installed outside it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three stamps, because whoever only runs an experiment needs no servers and no development tools.
USER_READY := $(VENV)/.installed
SERVICE_READY := $(VENV)/.installed-service
DEV_READY := $(VENV)/.installed-dev
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Arguments passed on: `make test ARGS="tests/pools -k split -x"`.
ARGS ?=
# Tests run in so many processes, file by file in their order, since long ones must not come last;
# JOBS=0 for one, which a debugger needs.
JOBS ?= 2
# `make faults FAULTS=nightly` makes all tries of the matrix.
FAULTS ?= ci

# What tests start beside Python: PostgreSQL, a browser, and tools that make disks, clocks and processes
# fail.
DEBIAN := postgresql chromium strace fiu-utils faketime

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help moons compare parallel retrain bench bench-training bench-gpu bench-durability bench-parallel bench-labels bench-query test faults mutations debian lint types contracts wheel-check check clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

moons: $(USER_READY) ## run active learning on the two moons
	$(BIN)/querist run examples/two_moons/experiment.yaml $(ARGS)

compare: $(USER_READY) ## run the two moons' query strategies against each other
	$(BIN)/querist run examples/two_moons/comparison.yaml $(ARGS)

parallel: $(USER_READY) ## run three learners of a simulator side by side
	$(BIN)/querist run examples/parallel/experiment.yaml $(ARGS)

retrain: $(SERVICE_READY) ## label, retrain, compare and promote, as deployments of Prefect
	$(BIN)/python -m examples.retraining.weeks $(ARGS)

bench: $(USER_READY) ## time the two moons
	$(BIN)/python benchmarks/moons.py $(ARGS)

bench-training: $(USER_READY) ## time training against a loop by hand
	$(BIN)/python benchmarks/training.py $(ARGS)

bench-gpu: $(USER_READY) ## what captures gain on an NVIDIA GPU
	$(BIN)/python benchmarks/gpu.py $(ARGS)

bench-durability: $(USER_READY) ## what fsync and hashing cost an iteration
	$(BIN)/python benchmarks/durability.py $(ARGS)

bench-parallel: $(USER_READY) ## what learners side by side cost
	$(BIN)/python benchmarks/parallel.py $(ARGS)

bench-query: $(USER_READY) ## seconds and memory of every query strategy, beside its limits
	$(BIN)/python benchmarks/query_speed.py $(ARGS)

bench-labels: $(USER_READY) ## how many labels each query strategy saves
	$(BIN)/python benchmarks/label_efficiency.py $(ARGS)

test: $(DEV_READY) ## run the tests but the matrix of faults; ARGS goes to pytest
	$(BIN)/python -m pytest --ignore=tests/faults -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(DEV_READY) ## the matrix of faults: CI size, or FAULTS=nightly; ARGS goes to pytest
	FAULTS=$(FAULTS) $(BIN)/python -m pytest tests/faults -q --timeout=1800 -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

mutations: $(DEV_READY) ## break what durability rests on, and see that the tests notice
	$(BIN)/python .ci/mutations.py $(ARGS)

lint: $(DEV_READY) ## ruff
	$(BIN)/ruff check .

types: $(DEV_READY) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV_READY) ## imports go one way
	$(BIN)/lint-imports --no-logo

wheel-check: $(DEV_READY) ## build sdist and wheel, compare them with the tree, import from the wheel
	$(BIN)/python .ci/check_wheel.py

check: test faults lint types contracts wheel-check ## all six

debian: ## install the Debian packages that some tests start (needs root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN) >/dev/null

clean: ## remove .venv, builds and caches; runs and their logs stay
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Querist needs Python 3.11 or newer, and '$(PYTHON)' is not one: try make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# One `pip install` of everything: the pins hold for torch only if pip sees them when it chooses torch.
$(USER_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Querist into $(VENV) (the first time: about 2 minutes, 2 GB)."
	@$(PIP_INSTALL) -e .
	@touch $@

$(SERVICE_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Querist and its servers into $(VENV) (the first time: about 2 minutes, 2 GB)."
	@$(PIP_INSTALL) -e '.[service]'
	@touch $(USER_READY) $@

$(DEV_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Querist and its development tools into $(VENV) (the first time: about 2 minutes, 2 GB)."
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(USER_READY) $(SERVICE_READY) $@
