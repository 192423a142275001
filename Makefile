# What a developer does here. Everything is kept in one cache, so a second run is quick and a fresh clone
# finds what an earlier one built. Needs Rust, Python 3.11+, a JDK (17+; 21+ for the registry) and Maven.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

FRAZIL_CACHE ?= $(HOME)/.cache/frazil
CARGO_TARGET_DIR ?= $(FRAZIL_CACHE)/target
export FRAZIL_CACHE CARGO_TARGET_DIR

# A name, or a path; a version manager's shim will do.
PYTHON ?= python3
# One environment for each set of requirements and each Python. It does not contain Frazil itself, which
# is imported from this checkout: so all checkouts on a machine can share it.
VENV := $(FRAZIL_CACHE)/venv-$(shell { cat tests/requirements.txt; $(PYTHON) -V; } | cksum | cut -d' ' -f1)
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR)/python

EXTENSION := python/frazil/_core.abi3.so
# Directories too: their time changes when a file in them is removed.
RUST_SOURCES := $(shell find rust) Cargo.toml Cargo.lock pyproject.toml

.PHONY: help demo test check bench build wheel lock fmt

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: build ## Stream a year of flights through Kafka into Iceberg, and look at the result (ARGS="--json")
	@$(PY) -m frazil demo $(ARGS)

test: $(VENV)/.complete ## Run all tests, or some stages of them (STAGES="rust unit")
	@$(PY) scripts/run_tests.py $(STAGES)

check: $(VENV)/.complete build ## Check format, lints, types, stubs and docs
	cargo fmt --all --check
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	MYPYPATH=python $(PY) -m mypy.stubtest --mypy-config-file pyproject.toml frazil._core
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

bench: build ## Measure, and write reports/bench.json (ARGS for its options)
	@$(PY) -m tests.bench $(ARGS)

build: $(EXTENSION) ## Build the extension module (release) into python/frazil

wheel: $(VENV)/.complete ## Build the wheel into dist/
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/maturin build --release --locked --out dist

fmt: $(VENV)/.complete ## Format everything
	cargo fmt --all
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix-only --quiet .

lock: $(VENV)/.complete ## Update tests/requirements.txt from tests/requirements.in
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-find-links \
		--custom-compile-command "make lock" --output-file tests/requirements.txt tests/requirements.in

$(VENV)/.complete:
	@$(PYTHON) scripts/make_venv.py $(VENV) tests/requirements.txt

$(EXTENSION): $(RUST_SOURCES) | $(VENV)/.complete
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/maturin develop --release --locked --skip-install
	@touch $@
