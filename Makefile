# The three commands of the README. Everything happens inside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A stamp a set of extras, so that setup.py alone decides when to install anew.
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable

.PHONY: setup run test lint clean
.DELETE_ON_ERROR:

setup: $(INSTALLED)

run: $(INSTALLED)
	$(BIN)/python experiments/distill.py

test: $(TESTABLE)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile \
		--no-loadscope-reorder

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(None if (3, 10) <= sys.version_info[:2] <= (3, 13) else 'error: kd_tfrs needs Python 3.10 to 3.13. Received: ' + sys.version.split()[0] + '. Try make PYTHON=python3.12.')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(INSTALLED): setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[baselines,edge]"
	touch $@

$(TESTABLE): setup.py $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[tests]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs
