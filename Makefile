# Every target installs what it needs first; `make demo` and `make test` need nothing but Python 3.11 and a C compiler.
PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: install demo demo-language test test-slow check ui bench kills ray

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch -c constraints.txt
	$(BIN)/pip install --quiet -e '.[dev]' -c constraints.txt
	touch $@

demo: install
	$(BIN)/db1 demo

demo-language: install
	$(BIN)/db1 demo --language

test: install
	$(BIN)/pytest -n auto --dist loadfile

test-slow: install
	$(BIN)/pytest -m slow

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright && $(BIN)/lint-imports

ui: install
	$(BIN)/db1 ui

bench: install
	for name in tokenizing reading large_index resident_memory training_step memory acting tsp_representation encodings; do $(BIN)/python -m benchmarks.$$name || exit 1; done

kills: install
	$(BIN)/python -m benchmarks.kills

ray: install
	$(BIN)/pip install --quiet -e '.[ray]' -c constraints.txt
	$(BIN)/pytest -m slow tests/pipelines/test_ray_nodes.py
