# Everything a newcomer needs; `make` alone lists it. Set PYTHON to build for another interpreter.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export CARGO_TERM_COLOR ?= auto

.PHONY: help setup demo test lint lab bench mutants clean

help:
	@echo "make demo   set up, build, and run the main job on the mock device"
	@echo "make test   set up, and run every test that needs no virtual machine"
	@echo "make lint   formatters, linters and type checkers"
	@echo "make lab    boot the QEMU machines and run the tests against real kernels (needs root)"
	@echo "make mutants  plant bugs in the sources, and see whether a test notices (about an hour)"
	@echo "make bench  nanoseconds per call, side by side with a raw memoryview"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Tools and test packages, again whenever their list changes.
$(VENV)/tools: $(BIN)/python requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The wheel users install, in release mode: what is tested is what is measured. maturin and cargo know what is stale.
setup: $(VENV)/tools
	@rm -rf target/wheels
	$(BIN)/maturin build --release --quiet --interpreter $(BIN)/python --out target/wheels
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/*.whl

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	cargo test --quiet --workspace
	cargo build --quiet --release --package devregs-tracer
	$(BIN)/python -m pytest -q

lint: setup
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --features python -- -D warnings
	cargo clippy --quiet --features python,unguarded -- -D warnings
	cargo clippy --quiet -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest devregs --mypy-config-file pyproject.toml --allowlist tests/stubtest-allow.txt

lab:
	$(PYTHON) tests/lab/run.py
	$(PYTHON) tests/lab/portable.py

bench: setup
	PYO3_PYTHON=$(abspath $(BIN)/python) PYO3_BUILD_EXTENSION_MODULE=1 cargo build --quiet --release --lib \
		--features python,unguarded --target-dir target/unguarded
	$(BIN)/python tests/bench/bench.py --unguarded target/unguarded/release/libdevregs.so

# Needs cargo-mutants: see tests/mutation/README.md.
mutants: $(VENV)/tools
	$(BIN)/python tests/mutation/mutate.py

clean:
	rm -rf target $(VENV)
