# The verbs of Weft: the same for hand, hook and CI. `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUST   := $(shell find rust -name '*.rs' -o -name 'Cargo.toml' 2>/dev/null) Cargo.toml Cargo.lock pyproject.toml
SOURCE := $(RUST) $(shell find python -name '*.py' -o -name '*.pyi' -o -name '*.xz' -o -name '*.LICENSE' 2>/dev/null) README.md

.DEFAULT_GOAL := help
.PHONY: help demo test check lint test-rust test-python loom tsan test-exhaustive bench race format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## build and install Weft, then learn to pronounce English words
	@$(BIN)/weft demo

test: lint test-rust test-python ## everything that must pass

check: $(VENV)/.dev ## the two-minute form for every day: lints without clippy, tests without the slow ones
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && cargo fmt --check
	@$(BIN)/mypy --no-error-summary
	@cargo test --quiet -p weft-simd -p weft-kernels
	@$(BIN)/pytest -m "not slow"

lint: $(VENV)/.dev ## formatting, clippy, ruff, types, stubs
	cargo fmt --check
	cargo clippy --quiet --all-targets -p weft-simd -p weft-kernels -p weft-bindings -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/python -m mypy.stubtest weft._native --mypy-config-file pyproject.toml

test-rust: loom ## the crates without Python
	cargo test --quiet -p weft-simd -p weft-kernels

loom: tools-found ## the pool's handshake over every order of steps that the memory model allows
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom cargo test --quiet --release -p weft-kernels --lib handshake

HOST = $(shell rustc -vV | sed -n 's/host: //p')
tsan: tools-found ## the crates' tests under the thread sanitizer (needs the component rust-src)
	RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread' CARGO_TARGET_DIR=target/tsan WEFT_NUM_THREADS=3 \
	  cargo test -Zbuild-std --target $(HOST) --release -p weft-kernels --lib --tests

test-python: $(VENV)/.dev ## pytest on the installed wheel; skips are listed with their reasons
	$(BIN)/pytest

test-exhaustive: tools-found ## exp, log, tanh, sigmoid, erf of every f32, on every instruction set (half an hour on two cores)
	cargo test --release -p weft-simd -- --ignored --nocapture

bench: tools-found ## criterion: GFLOP/s beside the machine's own peak
	cargo bench --manifest-path benches/Cargo.toml

ROWS ?= *
race: dist/.wheel ## Weft beside PyTorch, JAX, ONNX Runtime and NumPy, in an environment of its own (ROWS='linear*')
	@test -x .peers/bin/pip || $(PYTHON) -m venv .peers
	@.peers/bin/pip install --quiet --disable-pip-version-check -r benches/peers/requirements.txt
	@.peers/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/weft-*.whl
	@.peers/bin/pip install --quiet --disable-pip-version-check dist/weft-*.whl
	.peers/bin/python benches/peers/race.py --rows '$(ROWS)' --json dist/race.json --markdown dist/race.md

format: $(VENV)/.dev ## put the sources in order
	cargo fmt
	$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format --quiet .

clean: ## remove what was built
	rm -rf $(VENV) target dist

# What everything stands on. A missing tool is one sentence.
.PHONY: tools-found
tools-found:
	@command -v cargo >/dev/null || { echo "make: cargo is missing: install a stable Rust toolchain, 1.89 or later (rustup.rs)"; exit 1; }
	@v=$$(rustc --version | sed 's/rustc 1\.\([0-9]*\).*/\1/'); [ "$$v" -ge 89 ] || \
	  { echo "make: this is $$(rustc --version): install Rust 1.89 or later (rustup update stable)"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: install Python 3.11 or later"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: this is $$($(PYTHON) --version): install Python 3.11 or later, or say which: make PYTHON=python3.12"; exit 1; }

$(VENV)/bin/maturin: | tools-found
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment: install its venv module"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2'

dist/.wheel: $(SOURCE) | $(VENV)/bin/maturin
	@mkdir -p dist && rm -f dist/*.whl
	@echo "building the wheel (about a minute and a half)"
	@$(BIN)/maturin build --release --quiet --out dist
	@touch $@

# The wheel with an extra; pip leaves alone what is there already.
$(VENV)/.demo: dist/.wheel
	@$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/weft-*.whl
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(ls dist/weft-*.whl)[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(ls dist/weft-*.whl)[dev]"
	@touch $@
