# make up      sets everything up, brings the stack up and shows an answer of each engine
# make test    everything: ruff, mypy, unit tests, vLLM's own parser, conformance of the plugins, hosts, the lab
# make fuzz    the unit and contract tests with examples that nobody has tried: another search each time
# make down    takes it all away again
# make schema  renews the JSON Schema of stack files, after settings have changed
#
# STACK=prod   another environment than dev        YES=1   do not ask before the deployment
# KUBECONFIG   a cluster of yours in place of the lab
# FORWARD=0    do not lead ports 80 and 443 of this machine to the lab

STACK ?= dev
PYTHON ?= python3
PYTEST = .venv/bin/python -m pytest
MAKEFLAGS += --no-print-directory
export STACK

.PHONY: up down venv test unit lint fuzz contract-test hosts-test lab-test plugins-test docs schema clean
.DEFAULT_GOAL := up

up: venv
	@bin/llmctl up

down: venv
	@bin/llmctl down

venv: .venv/.locked

.venv/.locked: requirements.lock
	@echo "==> Python environment from requirements.lock (about a minute, once)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

test: lint unit contract-test plugins-test hosts-test lab-test

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@# One run for each suite, since each has a conftest of its own.
	.venv/bin/mypy tests/unit
	.venv/bin/mypy tests/contract
	.venv/bin/mypy tests/plugins
	.venv/bin/mypy tests/hosts
	.venv/bin/mypy tests/lab

unit: venv
	$(PYTEST) tests/unit --numprocesses auto

contract-test: venv
	$(PYTEST) tests/contract

fuzz: venv
	$(PYTEST) tests/unit --numprocesses auto --hypothesis-profile search
	$(PYTEST) tests/contract --hypothesis-profile search

plugins-test: venv
	$(PYTEST) tests/plugins

hosts-test: venv
	$(PYTEST) tests/hosts

lab-test: venv
	$(PYTEST) tests/lab

# Pages that are made from the code: one for each rule of the policy pack.
docs: venv
	@bin/llmctl policy docs

schema: venv
	bin/llmctl schema > schemas/stack-file.schema.json.new
	mv schemas/stack-file.schema.json.new schemas/stack-file.schema.json

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
