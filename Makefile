# make demo: needs Python 3.11 to 3.13 and nothing else.  Other Python: make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# make paper: DATA, a prepared dataset; NATURAL, pictures with labels, or nothing
DATA ?= data/fer2013
NATURAL ?=

.PHONY: demo test check bench load serve paper clean

demo: .venv/demo
	$(BIN)/mien recognize examples --annotate demo-out

test: .venv/full
	$(BIN)/python -m pytest

check: .venv/full
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/full
	$(BIN)/python benchmarks/training_overhead.py
	$(BIN)/python benchmarks/inference_speed.py
	$(BIN)/python benchmarks/video_speed.py

serve: .venv/full
	$(BIN)/mien serve

load: .venv/full
	$(BIN)/python benchmarks/serve_load.py

paper: .venv/full
	@test -n "$(NATURAL)" || echo 'without NATURAL=FOLDER there is no Table III' >&2
	$(BIN)/mien paper --data $(DATA) $(if $(NATURAL),--natural $(NATURAL)) --out docs/paper

clean:
	rm -rf .venv demo-out build dist

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'mien wants Python 3.11 or newer; name one: make demo PYTHON=python3.12' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/python pyproject.toml constraints.txt
	$(INSTALL) .
	touch $@

.venv/full: .venv/python pyproject.toml constraints.txt
	$(INSTALL) '.[train,dev]'
	touch $@ .venv/demo
