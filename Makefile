# Every target makes its own virtual environment when it is missing.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

.PHONY: demo test test-extras test-slow format clean

demo: .venv/base
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

# The tests that need optional packages; one of them is compiled, which takes a C++ compiler.
test-extras: .venv/extras
	$(BIN)/pytest tests/test_crf.py tests/test_backbone_sources.py tests/test_models.py \
		-k 'crf or sources or PyTorch'

test-slow: .venv/dev
	$(BIN)/pytest -m slow

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.venv/base: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e .
	touch $@

.venv/dev: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[dev]'
	touch $@

.venv/extras: .venv/dev
	$(PIP) -e '.[crf,keras-cv,keras-hub]' torch==2.13.0
	touch $@

clean:
	rm -rf .venv demo build *.egg-info
