# Every target does its own set-up: a virtual environment in the checkout, made from pyproject.toml
# and made anew when that changes.
#
#   make test PYTHON=python3.13 VENV=.venv-3.13 PYTEST="-x tests/test_imports.py"

PYTHON ?= python3
VENV ?= .venv
PYTEST ?=

PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: test check demo clean format

test: $(READY)
	$(PY) -m pytest $(PYTEST)

check: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_imports.py

format: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

demo: $(READY)
	$(PY) examples/demo.py

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `pip install --group` came with pip 25.1.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "dugong needs Python 3.11 or later; this is: $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install -qq --upgrade 'pip>=25.1'
	$(PY) -m pip install -qq --editable . --group test --group check --group demo
	@touch $@
