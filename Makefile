# Every target sets itself up: a virtual environment with torch first and exactly, then the package with its extras.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test check format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(READY)  ## train the ECG network on the simulated recordings that come with the package
	rm -rf runs/demo
	$(BIN)/srnn train ecg_sim --out runs/demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -q

check: $(READY)  ## lint, format, types, import floors, file sizes
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@big=$$(find src -name '*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > 400'); \
	  if [ -n "$$big" ]; then echo "files over 400 lines:"; echo "$$big"; exit 1; fi; \
	  echo "file sizes: $$(find src -name '*.py' | wc -l) files, none over 400 lines"

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
