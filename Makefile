# trtforge: set-up, engines, checks and measurements. `make` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# ONNX Runtime 1.32 keeps a usage database in the home folder unless told not to.
export ORT_DISABLE_TELEMETRY := 1

PYTHON ?= python3
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
export TRTFORGE_BIN := $(abspath $(TARGET_DIR))/release/trtforge
TOOLS_PYTHON := .deps/venv/bin/python

# Test data may be named relative to this folder, while tests run in their crate's own.
ifneq ($(TRTFORGE_TEST_DATA),)
export TRTFORGE_TEST_DATA := $(abspath $(TRTFORGE_TEST_DATA))
endif

MODEL ?=
CONFIG ?=
PRECISION ?=
WORKSPACE ?=
CALIBRATION ?=
FUZZ_SECONDS ?= 30
PEERS ?=
GPU_PAIRS ?=
GPU_INFERENCES ?=
BENCH ?=
STUDY ?=
DETECTOR_PYTHON ?= .deps/venv-detector/bin/python
DETECTOR_FLAGS ?=

.PHONY: help setup release engine bench memory-study test loom miri gpu-check lint venv modelopt torchvision detector peers conformance microbench fuzz clean distclean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  make engine takes  MODEL=path.onnx  CONFIG=path.yaml  PRECISION=fp32|fp16|int8|auto  WORKSPACE=512MiB  CALIBRATION=folder'

setup: ## Fetch the pinned libraries into .deps/lib and check what the build needs
	@$(PYTHON) tools/setup.py

release: setup ## Build the release binary
	@$(CARGO) build --release --locked --package trtforge

engine: release ## Build a verified engine from an ONNX model: engines/<model>-<precision>.engine
	@MODEL='$(MODEL)' CONFIG='$(CONFIG)' PRECISION='$(PRECISION)' WORKSPACE='$(WORKSPACE)' \
		CALIBRATION='$(CALIBRATION)' tools/engine.sh

bench: release ## Measure throughput, latency and memory: bench/<model>.json and .svg (BENCH='--batch 1,4 --streams 1,2')
	@MODEL='$(MODEL)' BENCH='$(BENCH)' tools/bench.sh

memory-study: release ## Write docs/memory.md from some 250 builds of DAMO-YOLO; goes on where it was (STUDY='--models t,s --staged-batches 1')
	@$(PYTHON) tools/memory_study.py --trtforge '$(TRTFORGE_BIN)' $(STUDY)

test: export TRTFORGE_REQUIRE_LIBRARIES = 1
test: setup ## Run every test, with the real libraries (TRTFORGE_TEST_DATA=folder adds those on real models)
	@$(PYTHON) -m unittest discover --start-directory tools --pattern 'test_*.py'
	@$(CARGO) test --workspace --locked --doc --quiet
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --workspace --features trtforge-runtime/tensorrt --locked; \
	else $(CARGO) test --workspace --features trtforge-runtime/tensorrt --locked --all-targets; fi

gpu-check: setup ## On a GPU: engines against FP32, memory, graphs, streams, a full device, a soak; one JSON
	@$(CARGO) build --release --locked --quiet --package trtforge-runtime --features tensorrt --example gpu_check
	@GPU_CHECK_BIN='$(abspath $(TARGET_DIR))/release/examples/gpu_check' GPU_PAIRS='$(GPU_PAIRS)' \
		GPU_INFERENCES='$(GPU_INFERENCES)' tools/gpu_check.sh

loom: ## Try every order of threads at the runtime's queue, responses and session worker
	@RUSTFLAGS='--cfg loom' $(CARGO) test --package trtforge-runtime --no-default-features --lib --release --locked --target-dir $(TARGET_DIR)/loom -- models::

miri: ## Run the runtime's host tests under Miri (rustup +nightly component add miri rust-src)
	@PROPTEST_CASES=4 MIRIFLAGS='-Zmiri-disable-isolation' $(CARGO) +nightly miri test --package trtforge-runtime --no-default-features --locked --lib --test suite -- \
		--skip engines --skip plan_file --skip process:: --skip monitor:: --skip many_threads --skip four_times

lint: setup ## Format, clippy in both flavours and documentation, warnings refused
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(CARGO) clippy --package trtforge-tensorrt --package trtforge --all-targets --locked --features trtforge-tensorrt/enterprise,trtforge/enterprise -- -D warnings
	@$(CARGO) clippy --package trtforge-runtime --all-targets --locked --features tensorrt,bench -- -D warnings
	@$(CARGO) clippy --package trtforge-runtime --all-targets --locked --no-default-features -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet

detector: release ## Train the small detector anew on generated scenes, quantize and score it (50 minutes, too short for two cores; on a GPU DETECTOR_FLAGS='--minutes 9' will do)
	@[[ '$(DETECTOR_PYTHON)' != .deps/* ]] || $(PYTHON) tools/venv.py tools/requirements-detector.txt .deps/venv-detector
	@DETECTOR_PYTHON='$(DETECTOR_PYTHON)' DETECTOR_FLAGS='$(DETECTOR_FLAGS)' tools/detector.sh

peers: release venv ## Time, memory and accuracy beside other tools, in one run (PEERS='--quick --only accuracy')
	@[[ '$(PEERS)' == *'--only vision'* ]] || $(MAKE) --no-print-directory modelopt || echo 'peers: goes on without Model-Optimizer'
	@$(CARGO) build --release --locked --quiet --package trtforge-vision --example measure
	@$(TOOLS_PYTHON) -m unittest discover --start-directory tools --pattern 'test_*.py' --buffer
	@$(TOOLS_PYTHON) tools/peers.py $(PEERS)

conformance: release venv ## Every ONNX operator test through read, check, write and simplify
	@$(TOOLS_PYTHON) tools/conformance.py --self-test
	@$(TOOLS_PYTHON) tools/conformance.py

microbench: setup ## Criterion benches
	@$(CARGO) bench --workspace --locked --bench '*'

fuzz: setup venv ## Fuzz every parser, and what is made of Q/DQ models, for FUZZ_SECONDS each
	@tools/fuzz.sh $(FUZZ_SECONDS)

venv:
	@$(PYTHON) tools/venv.py tools/requirements.txt .deps/venv

modelopt: ## Install Model-Optimizer (0.5 GB) for make peers, which does without it too
	@$(PYTHON) tools/venv.py tools/requirements-modelopt.txt .deps/venv-modelopt --no-deps

torchvision: ## Install torchvision (5 GB with PyTorch) for make peers, which does without it too
	@$(PYTHON) tools/venv.py tools/requirements-torchvision.txt .deps/venv-torchvision

clean: ## Remove what cargo built
	@$(CARGO) clean

distclean: clean ## Remove the fetched libraries and generated models too; engines stay
	@rm -rf .deps models
