# Thin on purpose: every target is one command that also runs by hand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
MEMBERS := libs/contracts libs/kit services/lead-intake services/qualification services/sales-feedback \
           services/attribution deploy/local cli demo
OURS := $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(MEMBERS:%=%/pyproject.toml))

help: ## Print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')"

setup: .venv/.ready ## Make .venv from requirements.lock (the other targets do it by themselves)

.venv/.ready: requirements.lock $(MEMBERS:%=%/pyproject.toml)
	$(PYTHON) -m venv .venv
	grep -A 40 '^uv==' requirements.lock | awk 'NR > 1 && /^[a-z]/ { exit } { print }' > .venv/uv.lock.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock.txt
	$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	touch $@

lock: .venv/.ready ## Write requirements.lock anew (names, versions, hashes)
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
	  $(OURS:%=--no-emit-package %) --group dev $(MEMBERS:%=%/pyproject.toml) -o requirements.lock

proto: .tools/proto/.ready ## Generate libs/contracts from proto/
	.tools/proto/bin/python proto/generate.py
	$(BIN)/python proto/golden.py
	$(BIN)/python proto/document.py

.tools/proto/.ready: proto/requirements.lock | .venv/.ready
	$(BIN)/uv venv --quiet --clear .tools/proto
	VIRTUAL_ENV=.tools/proto $(BIN)/uv pip sync --quiet --require-hashes proto/requirements.lock
	touch $@

.PHONY: help setup lock proto
