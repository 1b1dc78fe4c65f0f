# Each target does its own set-up; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help train test test-faults lint format clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

train: .venv/demo  ## Set up with the demo extra and run the embedded default
	$(BIN)/python train.py

test: .venv/dev  ## Set up with the dev extra and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-faults: .venv/dev  ## Kill workers and controllers at every named point, 5 times each (about 25 minutes)
	FAULT_ROUNDS=5 $(BIN)/python -m pytest tests/faults

lint: .venv/dev  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/dev  ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the environment and what tools cached; outputs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist

# The stamps make set-up run again only when the requirements changed. dev includes demo.
.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	@test .venv/dev -nt pyproject.toml -a .venv/dev -nt constraints.txt || $(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[demo,dev]'
	@touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
