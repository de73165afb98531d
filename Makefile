# Two commands: `make demo` shows what Didymium does, `make test` checks everything.
# Both build in the development profile and share one set of compiled dependencies, outside the
# clone so that every clone finds them.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/didymium
export CARGO_TARGET_DIR ?= $(CACHE)/target

REQUIREMENTS := tests/python/requirements.txt
VENV := $(CACHE)/venv-$(shell cksum < $(REQUIREMENTS) | cut -d' ' -f1)
PYTHON := $(VENV)/bin/python
export DIDYMIUM_BIN := $(CARGO_TARGET_DIR)/debug/didymium
export PYTHONPATH := python
export PYTHONDONTWRITEBYTECODE := 1

say = @printf '\n== %s\n' "$(1)"

.PHONY: demo test build python bench duckdb beside-jobs soak clean

demo: build python
	$(call say,asking the questions$(comma) over gRPC with a stock Python stub)
	$(PYTHON) python/demo.py $(DIDYMIUM_BIN)

test: python
	$(call say,1 of 5: formatting)
	cargo fmt --all --check
	$(call say,2 of 5: lints (the first run checks every dependency: about 5 minutes on two cores))
	cargo clippy --workspace --all-targets -- -D warnings
	$(call say,3 of 5: Rust tests and the .slt files over gRPC (the first run builds everything: about 10 minutes))
	cargo test --workspace --no-fail-fast
	$(call say,4 of 5: the documentation of the Rust crates)
	cargo doc --workspace --no-deps --quiet
	$(call say,5 of 5: Python tests against a real server)
	cargo build --workspace
	$(PYTHON) -m pytest tests/python

build:
	$(call say,building the server (the first time about 10 minutes on two cores$(comma) then seconds))
	cargo build --workspace

python: $(VENV)/ready

# Made under another name and renamed, so that an interrupted install is not taken for a whole one.
$(VENV)/ready: $(REQUIREMENTS)
	$(call say,a Python environment with pinned packages (once$(comma) about a minute))
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	touch $@

bench:
	$(call say,building in the release profile (the first time about 40 minutes on two cores))
	cargo bench --workspace --bench growth

# Loads, gap filling, as-of joins and growth beside DuckDB, both with two processors.
duckdb: python
	cargo build --release --workspace
	PYTHONPATH=python:tests/python:benches $(PYTHON) benches/against_duckdb.py $(CARGO_TARGET_DIR)/release/didymium

# Full sizes of what the tests try small, over a server as operators run it: more than half an hour.
beside-jobs: python
	cargo build --release --workspace
	PYTHONPATH=python:tests/python $(PYTHON) benches/beside_jobs.py $(CARGO_TARGET_DIR)/release/didymium

soak: python
	cargo build --release --workspace
	PYTHONPATH=python:tests/python $(PYTHON) tests/soak $(CARGO_TARGET_DIR)/release/didymium

clean:
	rm -rf $(CACHE)

comma := ,
