# Every target sets itself up: a virtual environment with torch first and exactly, then the package with its extras. NeuroBench, with which the counts of
# energy are compared, asks for torchaudio, which does not load with this torch: it goes without its dependencies.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEERS  ?= .venv-peers
TRITON ?= .venv-triton
BENCH  ?=

.PHONY: setup demo test quick test-triton check docs notebooks audit soak bench bench-peers format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps neurobench snntorch tqdm
	touch $@

demo: $(READY)  ## train the ECG network on the simulated recordings that come with the package
	rm -rf runs/demo
	$(BIN)/srnn train ecg_sim --out runs/demo

test: $(READY)  ## all tests, in two processes
	$(BIN)/python -m pytest -q -n 2

# What a test runs is kept in .testmondata: the first time all run, to learn it; after a change those that run what was changed, the quick ones first, until
# the time is up. What was left over is said, and runs the next time.
quick: $(READY)  ## after each change, within a minute: lint, types, the tests of what was changed (pytest-testmon)
	$(BIN)/ruff check --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest -q --testmon --seconds 40

# Triton, for which torch's CPU build has no use, in a virtual environment of its own: its interpreter runs the GPU kernels, its compiler compiles them.
$(TRITON)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(TRITON)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[gpu]" triton pytest pytest-timeout pytest-xdist
	touch $@

test-triton: $(TRITON)/.ready  ## the GPU kernels, under Triton's interpreter: parity of every neuron in every way
	TRITON_INTERPRET=1 $(TRITON)/bin/python -m pytest -q -n 2 -p no:warnings tests/kernels/test_parity.py tests/kernels/test_triton.py tests/kernels/test_scan.py

check: $(READY)  ## lint, format, types, import floors, file sizes
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@big=$$(find src -name '*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > 500'); \
	  if [ -n "$$big" ]; then echo "files over 500 lines:"; echo "$$big"; exit 1; fi; \
	  echo "file sizes: $$(find src -name '*.py' | wc -l) files, none over 500 lines"

docs: $(READY)  ## the documentation site, build/docs/index.html: warnings are errors; names, links and loads are checked
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	$(BIN)/python docs/check.py

notebooks: $(READY)  ## run the tutorials that are notebooks: build/notebooks
	$(BIN)/python docs/notebooks.py

audit: $(READY)  ## licences, secrets, calls that run what they read; known weaknesses where the service can be reached
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt pip-audit || true
	$(BIN)/python -m benchmarks.audit

soak: $(READY)  ## an hour of faults, leaks and streams: what a training survives, what grows; RUN=runs/ecg-seed0 names the run that is streamed
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.fuzz --tries 10000 --most 60
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.random_neurons --cases 2000
	$(if $(RUN),$(BIN)/python -m benchmarks.stream_soak --run $(RUN),@echo "stream_soak: give a run with RUN=…")

bench: $(READY)  ## speed and memory of training, measured side by side; BENCH="--shape SHD --rounds 9" passes options
	$(BIN)/python -m benchmarks.speed $(BENCH)

# Each peer is optional: one that cannot be installed is said so, and left out. sinabs goes without its dependencies (samna fetches code when it is
# imported), and so do those that ask for torchvision or torchaudio; what they do need is named.
PIP_PEERS = $(PEERS)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -c benchmarks/peers-constraints.txt

$(PEERS)/.ready: constraints.txt benchmarks/peers-constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PIP_PEERS) -e .
	$(PIP_PEERS) h5py loguru matplotlib nir nirtorch pbr requests scipy tqdm
	for peer in snntorch norse spikingjelly sinabs; do $(PIP_PEERS) --no-deps $$peer || echo "$$peer cannot be installed"; done
	$(PIP_PEERS) spyx jax flax optax || echo "spyx cannot be installed"
	touch $@

bench-peers: $(PEERS)/.ready  ## the same training step in other spiking libraries, in a virtual environment of its own
	$(PEERS)/bin/python -m benchmarks.peers $(BENCH)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(PEERS) $(TRITON) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
