# make demo   transcribe the example recording
# make test   lint, check types and run the tests
# make slow   run the tests that take minutes
#
# All first set up .venv, which needs nothing but Python 3.10 or newer with venv. The default
# build of PyTorch for Linux includes CUDA and is large; the one for CPUs is at
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
TESTABLE := .venv/testable
DEMO := build/demo
# Two processes of one thread: with small tensors, more threads cost more than they bring.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: demo test slow typed clean

demo: $(INSTALLED)
	mkdir -p $(DEMO)
	$(BIN)/harmnmf transcribe examples/example.flac -o $(DEMO)/example.mid --plot --overwrite
	@echo "MIDI:    $(DEMO)/example.mid"
	@echo "Picture: $(DEMO)/example.png"

test: $(TESTABLE) typed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy build/typed/harmnmf
	$(PYTEST)

slow: $(TESTABLE)
	$(PYTEST) -m slow

# Type checkers do not run the line of harmnmf/__init__.py that finds enhancement/ and cli/.
typed:
	rm -rf build/typed
	mkdir -p build/typed/harmnmf
	cd build/typed/harmnmf && ln -s ../../../harmnmf/* ../../../enhancement ../../../cli .

# PyTorch first and by itself, so that a wheel on disk is used as it is.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install torch==2.13.0
	$(BIN)/pip install --constraint constraints.txt --editable .
	touch $@

# pesq, which the tests need, is compiled.
$(TESTABLE): $(INSTALLED)
	$(BIN)/pip install --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build
