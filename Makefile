# Everything runs in .venv, made on first use. What CI runs: .ci/run.
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) || command -v python3)
BIN := .venv/bin
EXTRA := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)

.PHONY: demo test reports everything guide lint types format check bench clean
.DEFAULT_GOAL := demo

.venv/installed.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRA),openvino,dev]"
	touch $@

demo: .venv/installed.stamp
	$(BIN)/trueline demo

test: .venv/installed.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2  # two workers of two threads each take three times as long

reports: .venv/installed.stamp  # long checks: the public reports and their variants, every command of the guides
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m reports

everything: .venv/installed.stamp  # `make test` and `make reports` in one session, but for further variants: what CI has
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not variants"

guide: .venv/installed.stamp  # docs/ as web pages, in build/guide
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: .venv/installed.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed.stamp
	$(BIN)/mypy

format: .venv/installed.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: test lint types

bench: .venv/installed.stamp
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build runs *.egg-info
