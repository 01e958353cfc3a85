# One menu of verbs, the same on a laptop and in CI.
#
#   make demo     environment, install, and the story of one loop in the terminal
#   make test     environment, install, checks, and the whole suite
#   make check    ruff, format, mypy strict, import direction
#   make bench    every measurement under bench/
#   make clean    remove the environment and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=…"; exit 1; }
ifdef UV
	uv venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
endif

$(VENV)/.base: $(BIN)/python pyproject.toml constraints.txt
ifdef UV
	uv pip install --quiet --python $(BIN)/python --editable . --constraint constraints.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --constraint constraints.txt
endif
	@touch $@

$(VENV)/.dev: $(VENV)/.base
ifdef UV
	uv pip install --quiet --python $(BIN)/python --editable ".[alerts]" --group dev --constraint constraints.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[alerts]" --group dev --constraint constraints.txt
endif
	@touch $@

demo: $(VENV)/.base
	@$(BIN)/loopwright demo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: check
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

bench: $(VENV)/.dev
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
