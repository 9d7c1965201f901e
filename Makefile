# Thin on purpose: every target is one command that also runs by hand.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
MEMBERS := libs/contracts libs/kit libs/agreement libs/evidence libs/models services/lead-intake services/qualification \
           services/sales-feedback services/attribution deploy/local cli demo
IMAGE := $(filter-out deploy/local demo,$(MEMBERS))
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
          $(OURS:%=--no-emit-package %)
step = @printf '\n\033[1m== %s\033[0m\n' "$(1)$(2)" >&2
suites = $(shell find libs services cli deploy/local demo -path '*/tests/$(1)' -type d | sort)
# Each of these tests has databases and topics of its own; the others need the machine to themselves.
APART := tests/contracts $(wildcard tests/faults/test_*crash_points.py) tests/faults/test_service_places.py
GENERATED = find libs/contracts/src proto docs -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum
OURS := $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(MEMBERS:%=%/pyproject.toml))

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready ## Run everything with a month of business (ONCE=1: end after the print-out)
	@$(BIN)/python -m baton_demo $(if $(ONCE),--once)

up: .venv/.ready ## Start the stack without the demo data, in the background
	@$(BIN)/python -m baton_local up

down: .venv/.ready ## Stop it
	@$(BIN)/python -m baton_local down

test: check ## Run the checks and all tests; starts what they need
	$(call step,unit tests)
	@$(BIN)/pytest -q -n 2 $(call suites,unit)
	$(call step,properties and integration tests, on a real PostgreSQL and a real Kafka)
	@$(BIN)/pytest -q -n 2 --dist loadfile $(call suites,properties) $(call suites,integration)
	$(call step,tests of the whole)
	@$(BIN)/pytest -q -n 2 -m "not long" $(APART)
	@$(BIN)/pytest -q -m "not long" tests $(APART:%=--ignore=%)

check: .venv/.ready ## Style, types, imports, contracts, migrations, deployment files
	$(call step,style)
	@$(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet
	$(call step,types)
	@$(BIN)/mypy --strict $(MEMBERS:%=%/src)
	$(call step,imports)
	@$(BIN)/lint-imports >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@for member in $(MEMBERS); do (cd $$member && $(CURDIR)/$(BIN)/deptry src --no-ansi --ignore DEP002 \
	  --known-first-party baton 2>$(CURDIR)/.venv/deptry.log) || { cat .venv/deptry.log; exit 1; }; done
	$(call step,contracts)
	@$(BIN)/buf lint proto
	@base=$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse -q --verify origin/main || true); \
	  if [ -n "$$base" ] && git cat-file -e "$$base:proto/buf.yaml" 2>/dev/null; then \
	    rm -rf build/proto-before && mkdir -p build/proto-before && \
	    git archive "$$base" proto | tar -x -C build/proto-before && \
	    $(BIN)/buf breaking proto --against build/proto-before/proto; \
	  else echo "no earlier version to compare the contract with"; fi
	@before=$$($(GENERATED)); $(MAKE) --no-print-directory -s proto >.venv/proto.log 2>&1 || \
	  { cat .venv/proto.log; exit 1; }; after=$$($(GENERATED)); \
	  [ "$$before" = "$$after" ] || { echo "generated files were not current; \`make proto\` has just renewed them"; exit 1; }
	$(call step,migrations)
	@$(BIN)/python -m baton_local.migrations build/migrations
	@for file in build/migrations/*.sql; do [ ! -f "$$file" ] || $(BIN)/squawk "$$file" \
	  >.venv/squawk.log 2>&1 || { cat .venv/squawk.log; exit 1; }; done
	$(call step,deployment files)
	@$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml

bench: .venv/.ready ## Measure B1, B2, B3, B6, B7 against their floors; writes build/bench.json
	@$(BIN)/python -m tests.bench

faults: .venv/.ready ## The long run of kills under load
	@$(BIN)/pytest -s tests/faults

clean: ## Remove the stack's data and everything that was generated or installed
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m baton_local down
	rm -rf .baton .tools .venv build

setup: .venv/.ready ## Make .venv from requirements.lock (the other targets do it by themselves)

.venv/.ready: requirements.lock $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed: install it, or name one with \`make PYTHON=python3.12 ...\`"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(call step,setting up .venv)
	@$(PYTHON) -m venv .venv
	@grep -A 40 '^uv==' requirements.lock | awk 'NR > 1 && /^[a-z]/ { exit } { print }' > .venv/uv.lock.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock.txt
	@$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

lock: .venv/.ready ## Write the locks anew (names, versions, hashes)
	@$(COMPILE) --group dev --all-extras $(MEMBERS:%=%/pyproject.toml) -o requirements.lock
	@$(COMPILE) -c requirements.lock $(IMAGE:%=%/pyproject.toml) -o deploy/requirements.lock
	@echo hatchling | $(COMPILE) -c requirements.lock - -o deploy/build.lock

proto: .tools/proto/.ready ## Generate libs/contracts from proto/
	.tools/proto/bin/python proto/generate.py
	$(BIN)/python proto/golden.py
	$(BIN)/python proto/document.py

.tools/proto/.ready: proto/requirements.lock | .venv/.ready
	$(BIN)/uv venv --quiet --clear .tools/proto
	VIRTUAL_ENV=.tools/proto $(BIN)/uv pip sync --quiet --require-hashes proto/requirements.lock
	@touch $@

.PHONY: help demo up down test check bench faults clean setup lock proto
