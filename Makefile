# `make` prints help. Needs Python 3.11 or newer with venv, and nothing else: the rest comes by `requirements.lock`
# into .livebalance/. PYTHON=… chooses the Python it starts from.

PYTHON ?= python3
BIN := .livebalance/venv/bin
READY := .livebalance/venv/ready
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
# uv does not read what pip is told: unless told itself, it asks the index that pip asks, and believes whom pip believes.
PIP_TOLD = $$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.$(1)='\(.*\)'$$/\1/p" | head -n 1)
UV := UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$(call PIP_TOLD,index-url)}}" \
  SSL_CERT_FILE="$${SSL_CERT_FILE:-$(call PIP_TOLD,cert)}" $(BIN)/uv
STACK := LIVEBALANCE_PARENT=$$PPID exec $(BIN)/python -m livebalance.stack
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up down status logs reset check check-lock check-python check-web test test-python test-web docs lock

help: ## print this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 | \2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1: \2/p' Makefile

demo: $(READY) ## everything in the foreground, Ctrl-C ends it and the data is kept (ARGS="--rate 200")
	@$(STACK) demo $(ARGS)

up: $(READY) ## the same, detached
	@$(STACK) up $(ARGS)

down: $(READY) ## end what `up` started
	@$(STACK) down

status: $(READY) ## one JSON object: addresses and process ids
	@$(STACK) status

logs: $(READY) ## what the processes write
	@$(STACK) logs

reset: $(READY) ## forget the data
	@$(STACK) reset

check: check-lock check-python check-web ## format, lint, types, import contracts, lock; no server

check-python: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy libs services tests deploy scripts
	$(BIN)/lint-imports

check-web: $(READY)
	$(BIN)/python -m livebalance.stack.build.node run check

test: check test-web test-python ## check, and every test

# The first part mostly waits for servers, so that two cores have enough for four; the second starts whole clusters, and
# runs alone.
test-python: $(READY)
	$(BIN)/python -m pytest -n 4 --dist loadfile --ignore=tests/acceptance --ignore=tests/bench
	$(BIN)/python -m pytest tests/acceptance

test-web: $(READY)
	$(BIN)/python -m livebalance.stack.build.node test

# Resolving starts from what is locked: nothing moves that need not. `make lock ARGS=--upgrade` moves everything.
RESOLVE := $(UV) pip compile pyproject.toml $(MEMBERS) --all-extras --group dev --python-version 3.11 --universal \
  --generate-hashes --no-header --no-annotate --quiet \
  $(patsubst %,--no-emit-package=livebalance-%,$(notdir $(MEMBERS:/pyproject.toml=)))

docs: $(READY) ## the generated pages of docs/ again
	@$(BIN)/python -m scripts.docs

lock: $(READY) ## resolve the dependencies again into requirements.lock
	@$(RESOLVE) $(ARGS) --output-file requirements.lock
	@$(BIN)/python -m livebalance.stack.build.jars

check-lock: $(READY)
	@cp requirements.lock .livebalance/resolved.lock
	@$(RESOLVE) --output-file .livebalance/resolved.lock
	@diff -q requirements.lock .livebalance/resolved.lock >/dev/null \
	  || { echo 'requirements.lock is not what the pyproject.toml files ask for: run `make lock`' >&2; exit 1; }

# The members are installed editable, by uv itself: that needs no network. A moved checkout starts anew.
ifneq ($(shell cat .livebalance/venv/place 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

CUT := { echo '✗ not all packages came, see above: check the network, then start again; what has arrived is kept' >&2; exit 1; }

# Who comes second waits, and finds it made.
$(READY): requirements.lock $(MEMBERS)
ifndef ALONE
	@mkdir -p .livebalance && flock .livebalance/venv.lock $(MAKE) --silent --no-print-directory ALONE=yes $@
else
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  'Livebalance needs Python 3.11 or newer with venv: install it (Debian: python3-venv), or name one: make PYTHON=python3.12' >&2; exit 1; }
	@test "$$(cat .livebalance/venv/place 2>/dev/null)" = "$$(pwd -P)" \
	  || { echo 'Making .livebalance/venv' && rm -rf .livebalance/venv && $(PYTHON) -m venv .livebalance/venv; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .livebalance/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .livebalance/uv.lock || $(CUT)
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock || $(CUT)
	@$(BIN)/uv pip install --python $(BIN)/python --offline --no-deps --quiet $(patsubst %/pyproject.toml,-e ./%,$(MEMBERS))
	@pwd -P > .livebalance/venv/place
	@touch $@
endif
