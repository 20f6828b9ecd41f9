# Vesicle: `make up` starts everything, `make test` tests everything. Needs Python ≥ 3.11 and make.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	echo $$python; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help up demo test lint types bench chaos lock clean

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/server ## Start everything on this machine, show it at work, serve until Ctrl-C
	@exec $(BIN)/vesicle up

demo: $(VENV)/server ## Do the same, check what it printed, stop
	@exec $(BIN)/vesicle demo

test: $(VENV)/dev ## Run the whole suite on real servers
	$(BIN)/python -m pytest tests/chaos
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/chaos

lint: $(VENV)/dev ## Check style and import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/dev ## Check types
	$(BIN)/mypy

bench: $(VENV)/server ## Measure side by side with peers, into bench.json
	$(BIN)/python -m bench

chaos: $(VENV)/dev ## Break everything at random under load (SECONDS=600) and check what must hold
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),600)

lock: $(VENV)/dev ## Lock dependencies anew, with hashes and no index
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --group build $(LOCK) -o requirements/server.txt
	$(BIN)/uv pip compile pyproject.toml --group build --group test --group lint \
		-c requirements/server.txt $(LOCK) -o requirements/dev.txt
	$(BIN)/uv pip compile --group bench $(LOCK) -o requirements/bench.txt

LOCK := --universal --python-version 3.11 --generate-hashes --no-header --quiet

clean: ## Remove the environment; what runs and its data stay
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found."; exit 1; }
	@echo "making the environment with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/server: requirements/server.txt pyproject.toml client/pyproject.toml | $(BIN)/python
	@echo "installing what the server needs …"
	@$(PIP) install --require-hashes -r requirements/server.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation -e . -e client
	@touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/server
	@echo "installing what the tests need …"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
