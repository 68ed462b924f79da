# Every target makes its own virtual environment when it is missing.
PYTHON ?= python3
BIN := .venv/bin
# Most of a test's time is tracing, which uses one core.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

.PHONY: demo test test-all docs kill-test wheel-check format clean

demo: .venv/base
	$(BIN)/python examples/demo.py "demo/$$(date +%Y-%m-%d_%H-%M-%S)"

test: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST)

# Everything: what `test` runs, the slow tests, and those of optional packages, one of which is
# compiled and requires a C++ compiler.
test-all: test .venv/extras .venv/kserve .venv/beam
	PDANET_TF_KSERVE_PYTHON=$(CURDIR)/.venv/kserve/bin/python $(PYTEST) -m 'slow or extra'
	.venv/beam/bin/pytest -m extra -k beam tests/inference/test_beam.py tests/test_docstrings.py

# The documentation site, build/docs/site/index.html, which can be read without a server or a network.
# Every warning is an error, and so is a link that leads nowhere.
docs: .venv/docs
	rm -rf build/docs
	.venv/docs/bin/python -m docs.pages build/docs/pages
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --quiet --strict --config-file docs/mkdocs.yml
	.venv/docs/bin/python -m docs.links build/docs/site

# Kills training at random moments, resumes it, and compares it with a run that was not killed.
kill-test: .venv/dev
	$(BIN)/python -m benchmarks.kill_test --output docs/training.md

# A wheel in a clean environment for each Python; downloads TensorFlow (600 MB) for each.
wheel-check:
	.ci/wheel-check python3.11 python3.12 python3.13

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
	$(PIP) -e '.[channels,crf,demo,hub,keras-cv,keras-hub,litert,onnx,openvino,tiff,torch]' torch==2.13.0
	# It drives Chromium (Debian: apt-get install chromium) in the test of the demo page.
	$(PIP) playwright==1.65.2
	# For an example; the last version under the MIT licence.
	$(PIP) albumentations==2.0.8
	# What runs the notebooks of examples/notebooks.
	$(PIP) ipykernel==7.4.0 nbclient==0.11.0
	# COCO's own masks are compared with ours.
	$(PIP) pycocotools==2.0.11
	# The reference's own package; its models need nothing but torch, its scripts OpenCV and more.
	$(PIP) --no-deps mit-semseg==1.0.0
	# TensorFlow Serving's own stubs, which the client does without.
	$(PIP) --no-deps tensorflow-serving-api==2.21.0
	# Checkpoints of its models, which need nothing but torch and no compiled operators.
	$(PIP) --no-deps torchvision==0.28.0
	# Ours are compared with its losses and models, which need nothing but these and torch.
	$(PIP) --no-deps segmentation-models-pytorch==0.6.0 timm==1.0.31
	touch $@

# A server for tests. It requires an older protobuf than the packages above would install, so it has
# an environment of its own.
.venv/kserve: .venv/base
	$(PYTHON) -m venv $@
	$@/bin/pip --disable-pip-version-check install --quiet kserve==0.21.0 tensorflow-cpu==2.21.*
	touch $@

# The site is built without the package: the reference is read from its files.
.venv/docs: docs/requirements.txt
	$(PYTHON) -m venv $@
	$@/bin/pip --disable-pip-version-check install --quiet --requirement docs/requirements.txt
	touch $@

# Apache Beam requires an older Pillow, protobuf and pyarrow than the packages above would install.
.venv/beam: .venv/base
	$(PYTHON) -m venv $@
	$@/bin/pip --disable-pip-version-check install --quiet -e '.[beam,tiff]' pytest pyyaml
	touch $@

clean:
	rm -rf .venv demo build *.egg-info
