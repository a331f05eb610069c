# Every target does its own set-up: a virtual environment in the checkout, made from pyproject.toml
# and recreated when that changes.
#
#   make test PYTHON=python3.13 VENV=.venv-3.13 PYTEST="-x tests/test_imports.py"

PYTHON ?= python3
VENV ?= .venv
PYTEST ?=

# Tests wait more than they compute, so there are more processes than cores. `-n 0` in PYTEST runs
# them in one process.
WORKERS ?= 4

PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: test test-all check demo docs dist bench probes foreign fuzz clean format

# Each process that collects the tests compiles them, and each command that a test runs compiles the
# package, unless the bytecode is kept.
test test-all: export PYTHONDONTWRITEBYTECODE :=

# Everything but the slowest tests: sweeps over each offset or call, storms, floods, and combinations
# of styles, servers and transports of which each part runs elsewhere.
test: $(READY)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(PYTEST)

test-all: $(READY)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

check: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)
	$(PY) -m pytest -q tests/test_imports.py

format: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

demo: .demo/.ready
	.demo/bin/python examples/demo.py

# The demo needs a small part of what the tests need.
.demo/.ready: pyproject.toml
	@echo "Setting up the demo in .demo …"
	$(PYTHON) -m venv --clear .demo
	.demo/bin/python -m pip install -qq --upgrade 'pip>=25.1'
	.demo/bin/python -m pip install -qq --editable '.[cli]' --group demo
	@touch $@

# As HTML in build/docs. Every warning is an error, and so is every broken link within the site.
docs: $(READY)
	@$(PY) -m pip install -qq --group docs
	$(PY) docs/_ext/draw_states.py
	@rm -rf build/docs  # pages that no longer exist
	$(PY) -m sphinx -E -W --keep-going -q -b html -d build/doctrees docs build/docs
	$(PY) docs/_ext/check_site.py build/docs

# The wheel and the sdist, as they would be published, in dist/.
dist: $(READY)
	rm -rf dist
	$(PY) -m hatchling build -d dist
	$(PY) -m twine check --strict dist/*

# Beside other clients, for half an hour or more on a quiet machine; bench/__init__.py says more.
#
#   make bench ROUNDS=1 SCALE=0.01 CASES=sequential,download/plain
ROUNDS ?= 5
SCALE ?= 1
CASES ?=

# An installed package has been compiled; the checkout may not have been.
bench: .bench/.ready
	.bench/peers/bin/python -m compileall -q src
	.bench/peers/bin/python -m bench --rounds $(ROUNDS) --scale $(SCALE) --cases "$(CASES)"

# What other clients do when something is unusual, and what the first columns of the tables in
# docs/coming-from do: written down beside the tests that compare dugong with it.
probes: .bench/.ready
	.bench/peers/bin/python -m bench.probes
	.bench/peers/bin/python -m tests.coming_from.record \
	    http-client.md requests.md httpx-aiohttp.md curl.md
	.bench/dugong3/bin/python -m tests.coming_from.record dugong3.md

# niquests puts another library in urllib3's place; dugong 3.8 has the same name as this one.
.bench/.ready: pyproject.toml
	@echo "Setting up the environments of the benchmark in .bench …"
	$(PYTHON) -m venv --clear .bench/peers
	$(PYTHON) -m venv --clear .bench/niquests
	$(PYTHON) -m venv --clear .bench/dugong3
	for name in peers niquests dugong3; do \
	    .bench/$$name/bin/python -m pip install -qq --upgrade 'pip>=25.1' || exit; \
	done
	.bench/peers/bin/python -m pip install -qq --editable '.[cli]' --group bench
	.bench/niquests/bin/python -m pip install -qq --group bench-niquests
	.bench/dugong3/bin/python -m pip install -qq --group bench-dugong3
	@touch $@

# The test suites of the libraries that have adapters, with the adapters in place.
#
#   make foreign SUITES=httpx2
SUITES ?=

foreign: $(READY)
	@$(PY) -m pip install -qq --group foreign
	$(PY) -m tests.foreign.run $(SUITES)

# Arbitrary bytes from a server, for SECONDS: half of them for the engine alone, half for whole
# connections. New inputs that reach more code stay out of the checkout. A failure ends the run, and
# its input is kept.
SECONDS ?= 60

fuzz: $(READY)
	@$(PY) -m pip install -qq --only-binary :all: --group fuzz
	@for target in engine response; do \
	    found=$$(mktemp -d) && mkdir "$$found/corpus" && \
	    $(PY) -m fuzz.fuzz_$$target -max_total_time=$$(($(SECONDS) / 2)) -max_len=8192 -timeout=10 \
	        -dict=fuzz/http.dict -artifact_prefix="$$found/" "$$found/corpus" fuzz/corpus && \
	    rm -rf "$$found" || { \
	        echo "To run what failed again:" >&2; \
	        find "$$found" -maxdepth 1 -type f -exec echo "  $(PY) -m fuzz.fuzz_$$target" {} ';' >&2; \
	        exit 1; \
	    }; \
	done

clean:
	rm -rf .venv .venv-* .bench .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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
