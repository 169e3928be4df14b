# `make` prints help. It needs only Python 3.11 or newer with venv; `requirements.lock` installs everything else into
# .livebalance/. PYTHON=… selects the Python interpreter.

PYTHON ?= python3
BIN := .livebalance/venv/bin
READY := .livebalance/venv/ready
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
# uv does not read pip's configuration. Unless its own variables are set, it gets pip's index and certificates from here.
PIP_CONFIG = $$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.$(1)='\(.*\)'$$/\1/p" | head -n 1)
UV := UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$(call PIP_CONFIG,index-url)}}" \
  SSL_CERT_FILE="$${SSL_CERT_FILE:-$(call PIP_CONFIG,cert)}" $(BIN)/uv
NPM := $(BIN)/python -m livebalance.stack.build.node
STACK := LIVEBALANCE_PARENT_PID=$$PPID exec $(BIN)/python -m livebalance.stack
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up down status logs reset check check-lock check-python check-web prepared test test-python test-web \
  test-containers simulate mutants bench-gate coverage docs lock

help: ## print this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 | \2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' Makefile

demo: $(READY) ## run the demo in the foreground; Ctrl-C stops it and keeps the data (ARGS="--rate 200")
	@$(STACK) demo $(ARGS)

up: $(READY) ## run the demo in the background
	@$(STACK) up $(ARGS)

down: $(READY) ## stop the demo that `up` started
	@$(STACK) down

status: $(READY) ## print addresses and process ids as one JSON object
	@$(STACK) status

logs: $(READY) ## print the logs of all processes in the order of time (ARGS=--json)
	@$(STACK) logs $(ARGS)

reset: $(READY) ## delete the data
	@$(STACK) reset

check: check-lock check-python check-web ## check format, lint, types, import contracts and lock; starts no server

check-python: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy libs services tests deploy scripts
	$(BIN)/lint-imports

check-web: $(READY)
	$(NPM) libs/ts-client run check
	$(NPM) services/web run check

# The checks of the page run beside those of Python, and beside what makes the tests start sooner.
test: $(READY) ## run check and every test
	@$(MAKE) --no-print-directory -j2 check prepared
	@$(MAKE) --no-print-directory test-web test-python

# With the cache of Kafka's classes, brokers start sooner. Six processes read all tests: without this, each compiles them.
prepared: $(READY)
	-@$(BIN)/python -m livebalance.stack.servers.kafka_classes
	-@$(BIN)/python -m pytest --collect-only -qq >/dev/null

# The first part often waits for servers, so two cores can run five workers. Files start in the order of their names: the
# last are unit tests, so no worker waits for a slow file. In the second part each worker starts whole
# clusters, and the tests of the third part judge pauses and alerts, which another cluster would change.
test-python: $(READY)
	$(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder --ignore=tests/acceptance --ignore=tests/bench \
	  --ignore=tests/containers
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not alone' tests/acceptance
	$(BIN)/python -m pytest -m alone tests/acceptance

test-containers: $(READY) ## run docker-compose.yml, kill each service in turn, and run tests on servers in containers
	@if docker info >/dev/null 2>&1; then $(BIN)/python -m pytest -s tests/containers; \
	else echo 'test-containers: left out, because no Docker engine answers'; fi

# Each seed is a schedule of faults, and a failure prints its shrunk schedule.
SEEDS ?= 20000
simulate: $(READY) ## run the simulated pipeline and gateway under random faults (SEEDS=100000)
	@$(BIN)/python -m tests.simulation.world --seeds $(SEEDS)
	@$(BIN)/python -m tests.simulation.gateway --seeds $$(( $(SEEDS) / 5 ))

# A stopped run goes on where it stopped. MODULE is a part of a name in tests/mutation/ratchet.toml.
MODULE ?=
mutants: $(READY) ## mutate the pure modules and plant the mutants of SQL and shells (MODULE=fold.lane)
	@nice -n 10 $(BIN)/python -m tests.mutation $(MODULE) $(ARGS)
ifeq ($(MODULE),)
	@$(BIN)/python -m tests.mutation.planted
endif

bench-gate: $(READY) ## compare the CPU time of the hot loops with tests/bench/gate.toml
	@$(BIN)/python -m tests.bench.gate $(ARGS)

COVERED ?= tests/unit tests/contract tests/integration
coverage: $(READY) ## measure which lines the tests run (COVERED=tests/unit)
	$(BIN)/python -m pytest --cov --cov-report=term $(COVERED)
	$(NPM) libs/ts-client run test -- --coverage --coverage.reporter=text-summary
	$(NPM) services/web run test -- --coverage --coverage-reporters=text-summary

test-web: $(READY)
	$(NPM) libs/ts-client test
	$(NPM) services/web test

# Resolving starts from the locked versions and changes only what it must. `make lock ARGS=--upgrade` updates everything.
RESOLVE := $(UV) pip compile pyproject.toml $(MEMBERS) --all-extras --group dev --python-version 3.11 --universal \
  --generate-hashes --no-header --no-annotate --quiet \
  $(patsubst %,--no-emit-package=livebalance-%,$(notdir $(MEMBERS:/pyproject.toml=)))

docs: $(READY) ## regenerate the generated pages of docs/
	@$(BIN)/python -m scripts.docs

lock: $(READY) ## resolve the dependencies into requirements.lock
	@$(RESOLVE) $(ARGS) --output-file requirements.lock
	@$(BIN)/python -m livebalance.stack.build.jars

check-lock: $(READY)
	@cp requirements.lock .livebalance/resolved.lock
	@$(RESOLVE) --output-file .livebalance/resolved.lock
	@diff -q requirements.lock .livebalance/resolved.lock >/dev/null \
	  || { echo 'requirements.lock does not match the pyproject.toml files: run `make lock`' >&2; exit 1; }

# uv installs the members editable, which needs no network: hatchling, which builds the client, is locked too. A checkout
# that was moved rebuilds its environment.
ifneq ($(shell cat .livebalance/venv/place 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

CUT := { echo '✗ some packages were not installed, see above: check the network, then run make again; finished downloads are kept' >&2; exit 1; }

# flock: a concurrent `make` waits here and then finds the venv built.
$(READY): requirements.lock $(MEMBERS)
ifndef ALONE
	@mkdir -p .livebalance && flock .livebalance/venv.lock $(MAKE) --silent --no-print-directory ALONE=yes $@
else
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  'Livebalance needs Python 3.11 or newer with venv: install it (Debian: python3-venv), or select another interpreter: make PYTHON=python3.12' >&2; exit 1; }
	@test "$$(cat .livebalance/venv/place 2>/dev/null)" = "$$(pwd -P)" \
	  || { echo 'Making .livebalance/venv' && rm -rf .livebalance/venv && $(PYTHON) -m venv .livebalance/venv; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .livebalance/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .livebalance/uv.lock || $(CUT)
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock || $(CUT)
	@$(BIN)/uv pip install --python $(BIN)/python --offline --no-deps --quiet \
	  --no-build-isolation-package livebalance-client $(patsubst %/pyproject.toml,-e ./%,$(MEMBERS))
	@pwd -P > .livebalance/venv/place
	@touch $@
endif
