# Two commands do everything on a fresh machine with Python 3.10+ and make:
#   make demo    set up, then classify real inputs with the models in the repository
#   make test    set up, then run the tests
# Others: wheel (with the kernel images of all processors, and try it), emulator (QEMU and Bochs, to
# test kernels of other processors), lint, programs (programs of others), test-all (long sweeps too),
# operators (their index and table), fuzz, tune (what decides how convolutions are computed, for this
# processor), benchmarks ZOO=folder (beside other engines), clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROGRAMS := .venv-programs
BENCH := .venv-bench

.PHONY: demo test test-all wheel emulator lint operators programs fuzz tune benchmarks clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Martlet needs Python 3.10 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.demo

$(PROGRAMS)/.installed: pyproject.toml tests/programs/requirements.txt tests/programs/programs.txt
	$(PYTHON) -m venv $(PROGRAMS)
	$(PROGRAMS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/programs/requirements.txt -e .
	$(PROGRAMS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/programs/programs.txt
	@touch $@

$(BENCH)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

# Without it, the tests of kernels run on this processor only, and say so. There are builds of Bochs
# for most versions of Python on x86-64 Linux; what they say that they need, their own tests need.
emulator: $(BIN)/python
	@command -v qemu-aarch64-static >/dev/null || { apt-get update -qq && apt-get install -y -qq qemu-user-static; }
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: bochscpu-python==0.4.0

test: $(VENV)/.test
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.test programs
	$(BIN)/python -m pytest -q -m ''

programs: $(PROGRAMS)/.installed
	$(PROGRAMS)/bin/python -m pytest -q -o addopts= --noconftest tests/programs

# The wheel is tried where there is nothing but NumPy.
wheel: $(VENV)/.demo
	rm -rf build/images build/try dist
	mkdir -p build/images
	for target in x86-64-avx512 x86-64-avx2 aarch64-neon; do \
	  $(BIN)/martlet build-image --target $$target --output build/images/$$target.image || exit 1; done
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/try
	build/try/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	build/try/bin/python tools/try_wheel.py examples/digits/digits_float.tflite

lint: $(VENV)/.test
	$(BIN)/ruff check src tests examples benchmarks tools
	$(BIN)/ruff format --check src tests examples benchmarks tools
	$(BIN)/mypy

operators: $(VENV)/.test
	$(BIN)/python tools/operators.py

fuzz: $(VENV)/.test
	$(BIN)/python tests/fuzz.py --count 100000

# Some minutes, on a machine with nothing else to do.
tune: $(VENV)/.test
	$(BIN)/martlet build-image
	$(BIN)/python benchmarks/tune.py --fit --write

benchmarks: $(BENCH)/.installed
	@test -n "$(ZOO)" || { echo "make benchmarks ZOO=folder: see benchmarks/engines.py"; exit 2; }
	$(BENCH)/bin/martlet build-image
	$(BENCH)/bin/python benchmarks/peers.py --zoo '$(ZOO)'

clean:
	rm -rf $(VENV) $(PROGRAMS) $(BENCH) build dist
