SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: demo test coverage lint bench bench-peers serve lock clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
TORCH := .venv/.torch
INTEROP := .venv-interop/.ready
PEERS := river evidently nannyml alibi

demo: $(READY)
	$(BIN)/assay demo

serve: $(READY)
	test -d .assay-demo || $(BIN)/assay demo
	$(BIN)/assay serve --project .assay-demo

test: $(READY) $(TORCH) $(INTEROP)
	$(BIN)/python -m pytest

# The same tests with every line and branch watched, at half the speed.
coverage: $(READY) $(TORCH) $(INTEROP)
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(READY) $(TORCH)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY) $(TORCH) $(INTEROP)
	for script in benchmarks/*/run.py; do $(BIN)/python "$$script"; done

# The monitors that benchmarks/monitoring runs beside ours, each by itself: they do not agree on what they stand on.
bench-peers: $(PEERS:%=.venv-peers/%/.ready)

.venv-peers/%/.ready: locks/peers-%.lock $(READY)
	test -x .venv-peers/$*/bin/python || $(PYTHON) -m venv .venv-peers/$*
	$(BIN)/uv pip sync -q --python .venv-peers/$*/bin/python --require-hashes --compile-bytecode locks/peers-$*.lock
	touch $@

# Made again when a lock or pyproject.toml changes; the stamp is written last, so a broken setup is tried again.
$(READY): locks/uv.lock locks/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "assay needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	echo "setting up .venv (about a minute, once)"
	$(BIN)/python -m pip install -q --require-hashes -r locks/uv.lock 2>&1 | { grep -v '^WARNING: Location' || true; }
	$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes --compile-bytecode locks/dev.lock locks/uv.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# A build of torch for the processor alone. After the rest: a sync of the other locks takes it away.
$(TORCH): locks/torch.lock $(READY)
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r locks/torch.lock 2>&1 | { grep -v '^WARNING: Location' || true; }
	touch $@

# The reference implementation of model signing, which the compatibility tests run beside ours.
$(INTEROP): locks/interop.lock $(READY)
	test -x .venv-interop/bin/python || $(PYTHON) -m venv .venv-interop
	$(BIN)/uv pip sync -q --python .venv-interop/bin/python --require-hashes locks/interop.lock
	touch $@

lock: $(READY)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev --extra all --extra spark pyproject.toml -o locks/dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate locks/uv.in -o locks/uv.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate locks/interop.in -o locks/interop.lock
	for peer in $(PEERS); do $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate locks/peers-$$peer.in -o locks/peers-$$peer.lock; done

clean:
	rm -rf .venv .venv-interop .venv-peers .assay-demo .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
