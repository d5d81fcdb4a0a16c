# Everything runs in .venv. PyTorch is installed first, so that its build can be chosen: see
# CONTRIBUTING.md. With a GPU, install the torch you want into .venv before running make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LIGHT := $(VENV)-light
TORCH ?= torch==2.13.0
PIP := $(BIN)/pip install --quiet --no-compile
TEST := OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=2 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

MOST_MEMORY := tests/adaptation tests/benchmarks tests/objective tests/person_fitting tests/recovery

.PHONY: demo dev test lint wheel light docs docs-serve pictures clean

demo: $(VENV)/.installed
	$(BIN)/dualhmr detect --example --out dualhmr-out
	$(BIN)/dualhmr recover --example --out dualhmr-out
	@echo "The pictures are in dualhmr-out: keypoints.png, overlay.png, steps.png; mesh.glb is the body, result.html shows it."

# In three runs, as a process keeps much of what its tests needed: networks, compiled loops, graphs.
test: $(VENV)/.installed-dev
	$(TEST) --ignore tests/export --ignore tests/training $(addprefix --ignore ,$(MOST_MEMORY))
	$(TEST) $(MOST_MEMORY)
	$(TEST) tests/export tests/training

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation, into site/; a warning is an error.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The pictures in docs/images that show this software; three of them need Chromium.
pictures: $(VENV)/.installed-dev
	$(BIN)/python -m scripts.pictures

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel

# The wheel in an environment of its own, as `pip install dualhmr` makes it, without PyTorch and
# numba: the example is recovered there, within bounds of disk and memory.
light:
	$(PYTHON) benchmarks/scripts/small_install.py . --folder $(LIGHT)

# The environment of tests and lint. Python compiles the few modules that are imported by itself.
dev: $(VENV)/.installed-dev

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) $(TORCH)
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[torch]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(LIGHT) dist site dualhmr-out
