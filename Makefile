# Two commands on a fresh machine with Python >= 3.11:  make demo   and   make test
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench long docs clean

demo: .venv/ready
	$(BIN)/emres demo --to demo

test: .venv/ready check
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff check emres tests benchmarks workflows
	$(BIN)/ruff format --check emres tests benchmarks workflows
	$(BIN)/mypy
	$(BIN)/lint-imports

long: .venv/ready
	$(BIN)/python -m pytest -m "long or not long"

bench: .venv/ready
	$(BIN)/python -m benchmarks

# The site, in build/site: a warning is an error.
docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Editable, so that one set-up serves until the dependencies change.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf .venv demo build dist *.egg-info
