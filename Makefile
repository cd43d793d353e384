# Every target makes .venv in this folder from the hashed locks and installs into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
SOURCES := src tests faults benchmarks scripts docs oracles

.PHONY: demo test test-python check faults bench reproduce reproduce-check realdata long clean lock

$(VENV)/.run: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "opsicm needs Python 3.11 or later, this is " + sys.version)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.test: $(VENV)/.run requirements-test.lock requirements-scripts.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements-test.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes --no-deps -r requirements-scripts.lock
	touch $@

demo: $(VENV)/.run
	$(BIN)/opsicm demo --out $(OUT)

check: $(VENV)/.test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# What promises real time has the machine for itself, afterwards.
test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not real_time"
	$(BIN)/python -m pytest -m real_time

# The same with another Python, in an environment of its own: make test-python PYTHON=python3.13
test-python:
	$(MAKE) test VENV=.venv-$(notdir $(PYTHON))

# The loop device and the small tmpfs of F4 and F5 need root; without it these two rows say so.
faults: $(VENV)/.test
	$(BIN)/python -m faults

bench: $(VENV)/.run
	$(BIN)/opsicm bench --json bench.json

# The twelve experiments in full under three parameter sets, then what their predictions owe to each assumed number (half
# an hour where nothing is known yet; what did not change is not computed again), then the documentation's page of them.
# The check runs the short forms.
reproduce: $(VENV)/.run
	mkdir -p $(OUT)
	$(BIN)/opsicm reproduce --json $(OUT)/reproduction.json --out $(OUT)/reproduction
	$(BIN)/opsicm reproduce --sensitivity all --json $(OUT)/sensitivities.json --out $(OUT)/reproduction
	$(BIN)/python -m scripts.reproduction_page write $(OUT)/reproduction.json $(OUT)/reproduction/figures long \
		$(OUT)/sensitivities.json

reproduce-check: $(VENV)/.run
	mkdir -p $(OUT)
	$(BIN)/opsicm reproduce --short --json $(OUT)/reproduction-short.json --out $(OUT)/reproduction-short
	$(BIN)/python -m scripts.reproduction_page check $(OUT)/reproduction-short.json

# Measured approach curves of others: the finite-element template against the hyperbola. Fails without the data folder.
realdata: $(VENV)/.run
	$(BIN)/python -m scripts.realdata_approach

# The long forms of tests that have a short one in `make test`.
long: $(VENV)/.test
	OPSICM_LONG=1 $(BIN)/python -m pytest tests/physics tests/results/test_repeatability.py

lock:
	./lock.sh

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
