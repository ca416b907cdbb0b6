# What one does with dlrun's source. `make` alone lists it.
# Every target sets up .venv first if it is missing or older than pyproject.toml and constraints.txt.

FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c '$(FITS)' 2>/dev/null; then echo $$python; break; fi; done)
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KERNEL := $(VENV)/.kernel
SITE := $(VENV)/.site
PEERS := .venv-peers
DIST := .venv-dist
WHEELS := manylinux_2_17_x86_64 manylinux_2_17_aarch64 any
PINS ?=
TORCH := $(shell grep '^torch==' constraints.txt)

# Python may keep what it compiles, whatever the environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

# One thread a test process: the networks are small, and the processes share the cores.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

WORKFLOWS := $(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows docs/workflows/*.yml

.DEFAULT_GOAL := help
.PHONY: help run docs test slow faults loggers wide floats dist try-dist oldest newest check format lint types bench bench-engine bench-peers simulate venv clean distclean

help: ## list the targets
	@grep -E '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

run: $(KERNEL) ## train: make run ARGS="dataset=xor activation=tanh"
	@$(BIN)/dlrun $(ARGS)

docs: $(KERNEL) $(SITE) ## build the site: docs/_build/html/index.html
	@$(BIN)/python -m sphinx -W --keep-going -q -b html $(ARGS) docs docs/_build/html

test: $(KERNEL) ## run the tests: make test ARGS="-k optimizers"
	@$(TESTS) $(ARGS)

slow: $(KERNEL) ## run the tests that take minutes
	@$(TESTS) -m slow $(ARGS)

faults: $(KERNEL) ## what goes wrong, injected, a line a fault at the end: make faults DOSE=300
	@DLRUN_FAULTS=$(or $(DOSE),20) $(TESTS) -m fault $(ARGS)

loggers: $(KERNEL) ## what TensorBoard, MLflow and W&B read back; installs them
	$(BIN)/python -m pip install -c constraints.txt -e '.[tensorboard,mlflow,wandb]'
	@$(TESTS) -m "slow or not slow" tests/loggers $(ARGS)

wide: $(KERNEL) ## the bits of builds for AVX-512, under the emulator Bochs without it: make wide LINUX=/boot/vmlinuz
	@DLRUN_LINUX=$(LINUX) $(BIN)/python -m pytest -m slow tests/native/test_machines.py -k v4 $(ARGS)

floats: $(KERNEL) ## the kernel's functions over all 2^32 floats: the table of docs/engine.md
	@$(BIN)/python tests/floats.py $(ARGS)

check: $(KERNEL) ## formatting, lint, types and tests: what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(WORKFLOWS)
	@$(BIN)/mypy
	@$(TESTS)

format: $(READY) ## format the source and mend what lint can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY) ## lint alone
	@$(BIN)/ruff check .
	@$(WORKFLOWS)

types: $(READY) ## mypy alone
	@$(BIN)/mypy

bench: $(KERNEL) ## a step of dlrun against plain loops, with limits
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/step.py

bench-engine: $(KERNEL) ## a step by the kernel beside one by torch, with limits: the table of docs/engine.md
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/engine.py $(ARGS)

bench-peers: $(KERNEL) $(PEERS)/.ready ## dlrun beside its peers and a C program; rewrites benchmarks/README.md
	@$(BIN)/python benchmarks/peers.py $(ARGS)

simulate: $(KERNEL) ## how often verdicts are wrong, 2,000 simulations a cell: the tables of docs/statistics.md
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/simulate.py $(ARGS)

dist: $(DIST)/.ready ## dist/: an sdist, wheels with the kernel for Linux on x86-64 and arm64, and one without it
	rm -rf dist
	$(DIST)/bin/python -m build --sdist
	@set -e; for platform in $(WHEELS); do \
		mkdir -p build/$$platform; tar -xf dist/dlrun-*.tar.gz -C build/$$platform --strip-components 1; \
		DLRUN_WHEEL=$$platform DLRUN_ZIG=$(abspath $(DIST))/bin/python $(DIST)/bin/python -m build --wheel --outdir dist build/$$platform; \
		rm -rf build/$$platform; done
	$(DIST)/bin/twine check --strict dist/*

try-dist: dist $(READY) ## install what lies in dist/ in empty environments of every Python that is here, with a compiler and without
	@DLRUN_PINS="$(PINS)" $(BIN)/python -m pytest -m dist tests/test_dist.py $(ARGS)

oldest newest: ## the tests with the oldest, or newest, versions that pyproject.toml allows: make oldest PINS=torch==2.13.0
	$(PYTHON) -m venv --clear $(VENV)-$@
	$(VENV)-$@/bin/python -m pip install --quiet uv $(PINS)
	$(VENV)-$@/bin/uv pip install --python $(VENV)-$@/bin/python --resolution $(if $(filter oldest,$@),lowest-direct,highest) -e '.[dev]' $(PINS)
	@OMP_NUM_THREADS=1 $(VENV)-$@/bin/python -m pytest -n auto $(ARGS)

$(DIST)/.ready: constraints.txt
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet -c constraints.txt build twine ziglang
	@touch $@

$(PEERS)/.ready: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install $(TORCH)
	$(PEERS)/bin/python -m pip install -r benchmarks/requirements-peers.txt
	@touch $@

venv: $(READY) ## only set up .venv

$(READY): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo 'dlrun needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

$(SITE): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	@touch $@

$(KERNEL): $(READY) $(wildcard src/dlrun/native/*.[ch]) src/dlrun/native/build.py
	$(BIN)/python -m dlrun.native.build
	@touch $@

clean: ## remove caches and built packages; outputs/ stays
	rm -rf dist build docs/_build docs/catalogue .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV) $(VENV)-*
