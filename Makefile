# make demo and make test are all a newcomer needs; both first make .venv with the tested versions.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2

# one thread each: two on a busy machine can be ten times slower
export OMP_NUM_THREADS := 1
export TF_CPP_MIN_LOG_LEVEL := 3
export MPLBACKEND := agg

.PHONY: demo test lint types docs support bench viann fidelity format clean

demo: $(READY)
	$(BIN)/skexplain compare breast_cancer --out demo
	$(BIN)/python examples/write_report.py demo/report.html
	@echo "The picture is demo/breast_cancer_importances.png, the table demo/breast_cancer_importances.csv."
	@echo "Open demo/report.html in a browser."

test: lint types $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --doctest-modules
	KERAS_BACKEND=torch $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests/keras

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

support: $(READY)
	$(BIN)/python -m tests.zoo.support

bench: $(READY)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.scale

viann: $(READY)
	$(BIN)/python -m benchmarks.viann_table

# LassoNet, a peer of this benchmark only; all that it asks for is there
fidelity: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps lassonet
	$(BIN)/python -m benchmarks.fidelity --jobs $(JOBS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# zennit, an oracle of the tests, without torchvision, which it asks for and the tests do not need;
# torch first and by itself: the pin is what keeps gigabytes of CUDA packages away where a CPU build is offered
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps zennit
	touch $(READY)

clean:
	rm -rf $(VENV) demo docs/_build docs/auto_examples docs/api/generated build *.egg-info
