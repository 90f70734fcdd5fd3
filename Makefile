# Everything a contributor runs. `make check test` is what CI runs.
VENV    ?= .venv
PYTHON  ?= python3
# Cargo profile of the native module: `release`, or `dev` for quick rebuilds.
PROFILE ?= release
# Optional dependencies that come with a build; empty installs none.
EXTRAS  ?= dev,test

BIN     := $(abspath $(VENV))/bin
export VIRTUAL_ENV := $(abspath $(VENV))
export PATH := $(BIN):$(PATH)
# cargo would otherwise build the bindings for whatever python3 comes first on PATH.
export PYO3_PYTHON := $(BIN)/python
# A checkout's own package wins over one installed elsewhere.
export PYTHONPATH := $(abspath python)

NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help setup build test test-rust test-python test-arm lint format bench soak check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(BIN)/maturin ## Create the virtual environment (VENV=.venv)

$(BIN)/maturin: $(BIN)/python
	$(BIN)/python -m pip install --quiet 'maturin>=1.9,<2'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

build: setup ## Build the native module and install the package in the environment (PROFILE=release)
	$(BIN)/maturin develop --profile $(PROFILE) $(if $(EXTRAS),--extras $(EXTRAS))

test: build test-rust test-python ## Build, then run all tests

# Some Rust tests read the real model, too.
test-rust: export SYNAPSE_TEST_MODEL = $(shell $(BIN)/python -m tests.real_model)
test-rust:
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace
else
	cargo test --workspace --lib --bins --tests
endif

test-python:
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-arm: ## The kernel tests on emulated ARM processors; names the tools that are missing
	rust/kernels/tests/arm.sh

lint: ## Formatting, clippy, ruff, mypy, the native module's stubs, shellcheck
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest synapse_engine._engine
	$(BIN)/shellcheck install.sh .ci/run rust/kernels/tests/arm.sh

format: ## Format all code
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: EXTRAS := bench
bench: build ## Measure this machine against its peers; writes bench/records
	$(BIN)/python -m bench

soak: build ## 2,000 requests over 32 connections, some abandoned: no error, memory flat, every slot freed
	$(BIN)/python -m bench.soak --progress

check: build lint test-rust test-python ## What CI runs: lint and all tests

clean: ## Remove build outputs (keeps the virtual environment)
	cargo clean
	rm -rf .pytest_cache .mypy_cache .ruff_cache dist
