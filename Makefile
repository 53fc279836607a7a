# Two commands do everything on a fresh machine with Python 3.10+ and make:
#   make demo    set up, then classify real inputs with the models in the repository
#   make test    set up, then run the tests
# Others: lint, test-all (long sweeps too), programs (programs of others), fuzz, clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint programs fuzz clean setup

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Martlet needs Python 3.10 or newer; set PYTHON=") if sys.version_info < (3, 10) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli,test]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -q

test-all: $(STAMP) programs
	$(BIN)/python -m pytest -q -m '' --ignore=tests/programs

lint: $(STAMP)
	$(BIN)/ruff check src tests examples
	$(BIN)/ruff format --check src tests examples
	$(BIN)/mypy

fuzz: $(STAMP)
	$(BIN)/python tests/fuzz.py --count 100000

clean:
	rm -rf $(VENV) .venv-* build dist
