# Linux, Python 3.11 or newer, make. Everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread per test process: the processes share the cores.
WORKERS ?= 2
BENCHMARKS := fixing image_codecs matting upscaling cpu_runtimes networks quality scale dagster_load overhead host_work end_to_end serving

comma := ,

.DEFAULT_GOAL := help
.PHONY: help demo test slow chaos test-avx2 ui check image-check bench gpu format fuzz train clean

help: ## what there is to make
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | sort

demo: $(VENV)/.runtime ## the main job on sample drawings, offline
	$(BIN)/imgpipe demo --output demo-output

test: $(VENV)/.dev ## all tests but the slow ones
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

slow: $(VENV)/.dev ## the slow tests: a browser in Dagster's UI, a PostgreSQL server, a month of arrivals, the benchmarks at a small size
	$(BIN)/pytest -n $(WORKERS) -m slow

chaos: $(VENV)/.dev ## killed runs, a storm of faults before S3, 20,000 images: figures of docs/reliability.md
	$(BIN)/pytest -m chaos -s -v imgpipe_tests/chaos

test-avx2: $(VENV)/.dev ## the tests of networks and tiles with the instruction set held down to AVX2
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell $(BIN)/pytest -n $(WORKERS) \
	  --dist worksteal imgpipe_tests/inference/test_openvino_network.py imgpipe_tests/matting/test_onnx_model.py \
	  imgpipe_tests/upscaling/test_real_weights.py::test_exact_and_precise \
	  $(patsubst %,imgpipe_tests/upscaling/test_%.py,runtimes onnx_network network_upscaler spandrel_network)

ui: $(VENV)/.runtime ## the Dagster UI on what the last run produced
	$(BIN)/imgpipe ui

check: $(VENV)/.dev ## style, types, import rules: what CI checks before the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

image-check: $(VENV)/.dev ## the Dockerfile's Python steps and processes, without a container engine (15 GB of disk)
	$(BIN)/python scripts/check_image.py

format: $(VENV)/.dev ## rewrite files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## benchmarks at a small size; their help tells more
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --quick --output /dev/null || exit 1; done

gpu: $(VENV)/bin/python ## the first hour with a GPU: what loads, tests, speed, memory; needs the extra `gpu` installed
	$(BIN)/python benchmarks/gpu.py

fuzz: $(VENV)/.dev ## ten minutes of damaged files through the decoder
	$(BIN)/python scripts/fuzz_decode.py --seconds 600

train: $(VENV)/.dev ## our own networks from drawings: two hours at most for each on two cores; stopped, it resumes
	$(BIN)/python -m training.train --output training/work/x4
	$(BIN)/python -m training.train --scale 2 --steps 8000 --start training/work/x4/imgpipe-lite-x4.safetensors \
	  --output training/work/x2
	$(BIN)/python -m training.train --scale 1 --patch 96 --steps 12000 --output training/work/x1

clean: ## remove what demo, tests and compiled loops made
	rm -rf demo-output .imgpipe .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find imgpipe -name '*.nb[ic]' -delete  # numba's, which do not see a change in a module that is called

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Installs the locks with their hashes, then the project alone. Elsewhere than where the locks are for: their
# versions without the hashes. What is never imported is not compiled, which saves 150 MB and the time for them.
# $(1): locks, $(2): extras in brackets.
PLATFORM = import platform, sys; print(platform.system(), platform.machine(), *sys.version_info[:2])
define install
if [ "$$($(BIN)/python -c '$(PLATFORM)')" = "Linux x86_64 3 11" ]; then \
  $(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes $(addprefix --requirement ,$(1)) && \
  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . && \
  $(BIN)/python -m pip check; \
else \
  echo "the locks are for Linux x86_64, Python 3.11: their versions are taken here, hashes are not checked" >&2; \
  sed 's/ --hash=.*//' $(1) > $(VENV)/versions.txt && \
  $(BIN)/python -m pip install --quiet --no-compile --constraint $(VENV)/versions.txt --editable '.$(2)'; \
fi
endef

$(VENV)/.runtime: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(call install,requirements.lock)
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-networks.lock requirements-dev.lock
	$(call install,requirements.lock requirements-networks.lock requirements-dev.lock,[networks$(comma)dev])
	touch $@
