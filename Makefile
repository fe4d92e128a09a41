# Everything a person may do here; `make help` lists it. Debian 12: Python 3.11, Node 20, make; root or not.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
CONTRACTS_VENV := .venv-contracts
BIN := $(VENV)/bin
FORGE := node_modules/.bin/forge
# More than there are cores: much of a slow test is waiting.
WORKERS ?= 4
# These are busy all the time.
SOAK_WORKERS ?= 2

.PHONY: help setup setup-dev setup-contracts softhsm chromium demo up down status test soak test-all test-contracts golden check format docs screenshots bench bench-audit bench-chain bench-gas bench-life lock clean

help: ## List what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.runtime node_modules/.anvil ## Install what the product needs (virtual environment, packages, chain)

setup-dev: $(VENV)/.dev node_modules/.forge softhsm chromium ## Install what its developers need, too

setup-contracts: $(CONTRACTS_VENV)/.installed ## Install halmos and slither, which test-contracts runs

$(CONTRACTS_VENV)/.installed: requirements/contracts.lock
	@echo "Installing the tools that examine the contracts …"
	@$(PYTHON) -m venv --clear $(CONTRACTS_VENV)
	@$(CONTRACTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/contracts.lock
	@touch $@

SOFTHSM_FOUND = ls .softhsm/usr/lib/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so \
  /usr/lib64/*/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so /opt/homebrew/lib/softhsm/libsofthsm2.so \
  2>/dev/null | grep -q 'libsofthsm2'

softhsm: ## Install SoftHSM2, which FX_VAULT=pkcs11 and the tests of the vault use (Debian; not root: into .softhsm)
	@if $(SOFTHSM_FOUND); then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "SoftHSM2 is not installed; install softhsm2"; exit 1; fi; \
	echo "Installing SoftHSM2 …"; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends softhsm2 >/dev/null; \
	else \
	  mkdir -p .softhsm && (cd .softhsm && apt-get download -qq softhsm2 libsofthsm2 \
	    && for package in *.deb; do dpkg -x "$$package" .; done); \
	fi; \
	$(SOFTHSM_FOUND) || { echo "SoftHSM2 could not be installed; Debian: sudo apt-get install softhsm2"; exit 1; }

chromium: ## Install Debian's Chromium, in which the tests look at the pages
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "Chromium is not installed, and the tests of the pages need it; Debian: sudo apt-get install chromium"; exit 1; \
	fi; \
	echo "Installing Chromium …"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "FinToken X needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "the venv module is missing; Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements/runtime.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the locked Python packages …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.runtime
	@echo "Installing the locked development packages …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

node_modules/.anvil: package-lock.json
	@echo "Installing the local chain …"
	@npm ci --omit=dev --ignore-scripts --loglevel=error
	@touch $@

node_modules/.forge: package-lock.json
	@echo "Installing the contract tools …"
	@npm ci --ignore-scripts --loglevel=error
	@touch node_modules/.anvil $@

demo: setup ## The life of one invoice on real parts [INVOICE=path]
	@file="$(INVOICE)"; for found in $(INVOICE); do if [ -f "$$found" ]; then file="$$found"; break; fi; done; \
	$(BIN)/fintokenx demo $${file:+--invoice "$$file"}

up: setup ## Start a local system for you to use
	@$(BIN)/fintokenx up

down: ## Stop local systems; data stays
	@if [ -x $(BIN)/fintokenx ]; then $(BIN)/fintokenx down; fi

status: setup ## What runs, where
	@$(BIN)/fintokenx status

test: setup-dev ## The tests (embedded Postgres, anvil, mock servers); under 15 minutes on 2 cores
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not soak" $(ARGS)

soak: setup-dev ## The slow tests: crashes, long races, every planted hole; under 30 minutes on 2 cores
	@$(BIN)/python -m pytest -n $(SOAK_WORKERS) --dist worksteal -m soak $(ARGS)

test-all: test soak test-contracts ## All tests

test-contracts: setup-dev setup-contracts ## Solidity: tests, invariants, coverage, lemmas, slither, gas, artifacts; minutes
	@$(BIN)/python contracts/proof.py

golden: setup-dev ## Keep the record of the golden run as it is now: for wanted changes, whose diff is then reviewed
	@FX_KEEP_GOLDEN=1 $(BIN)/python -m pytest -q tests/golden

check: setup-dev ## Format, ruff, mypy strict, import contracts, generated docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=src $(BIN)/lint-imports
	@$(BIN)/fintokenx docs --check
	@echo "check: all good"

format: setup-dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only --quiet .

docs: setup-dev ## Print the generated documents
	@$(BIN)/fintokenx docs

screenshots: setup-dev ## Take the pictures in docs/screenshots again
	@$(BIN)/python -m pytest -q --screenshots tests/desks

bench: bench-life bench-audit bench-gas bench-chain ## All benchmarks

bench-life: setup-dev ## What a life costs: 100 e-invoices from upload to settlement, eight at once [N=lives]
	@$(BIN)/python -m bench.life $(if $(N),--lives $(N)) $(ARGS)

bench-audit: setup-dev ## The record: append ratios, proofs, seals, verification, replay, isolation at a million entries
	@$(BIN)/python -m bench.audit $(ARGS)

bench-gas: setup-dev ## Gas of our contracts, with T-REX 4.1.6 measured beside them
	@$(BIN)/python -m bench.gas

bench-chain: setup-dev ## Mints a second of our chain client, with web3.py measured beside it
	@$(BIN)/python -m bench.chain $(ARGS)

lock: setup-dev ## Pin and hash the packages again (requirements/*.in → *.lock, naming no index)
	@for set in runtime dev contracts; do $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --python-version 3.11 requirements/$$set.in -o requirements/$$set.lock; done

clean: down ## Remove local systems and everything installed
	@rm -rf $(VENV) $(CONTRACTS_VENV) node_modules .fintokenx contracts/out contracts/cache
