# Every target explains itself: `make help` prints the comment behind its name.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
.PHONY: help setup install install-dev lock lock-check demo up stop restart status logs doctor clean \
        format lint fix types check test test-unit test-e2e test-peers

DP := .venv/bin/dp
PYTEST := .venv/bin/python -m pytest

help: ## list every target
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | sort | \
	  awk -F'\t' '{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}'

# --- the platform without Docker -----------------------------------------------------------------------------------

setup: .venv-platform ## write .env with fresh machine secrets (PRODUCTION=1: generated passwords too)
	@$(DP) setup $(if $(PRODUCTION),--production)

demo: ## install, start everything, take the sample files from bucket to dashboard, print what happened
	@scripts/install-both.sh
	@$(DP) demo

up: install ## start the stack (or: make up SERVICES="postgres s3")
	@$(DP) up $(SERVICES)

stop: installed ## stop the stack and keep its data
	@$(DP) down

restart: installed ## stop the stack and start it again
	@$(DP) down && $(DP) up

status: installed ## show each service: state, address, process, memory
	@$(DP) status

logs: installed ## show the services' logs (SERVICE=airflow-scheduler for one, FOLLOW=1 to keep on)
	@$(DP) logs $(SERVICE) $(if $(FOLLOW),--follow)

doctor: .venv-platform ## check memory, disk, ports and versions; each finding with its cure
	@$(DP) doctor

clean: ## stop the stack and remove its data, logs and environments (asks first; FORCE=1 does not)
	@scripts/clean.sh $(if $(FORCE),--force)

# --- environments and locks ----------------------------------------------------------------------------------------

.PHONY: .venv-platform installed
.venv-platform:
	@scripts/install.sh platform
installed:
	@test -x $(DP) || { echo "nothing is installed yet: 'make demo' or 'make up' does it" >&2; exit 1; }

install: ## make the platform's and Superset's environments from their locks
	@scripts/install-both.sh

install-dev: ## the same, with the test and lint tools
	@scripts/install.sh dev
	@scripts/install.sh superset

lock: ## compile requirements/*.in into hashed locks (UPGRADE=1 for newer versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

lock-check: ## fail if a lock is not what its .in file compiles to
	@scripts/lock.sh --check

# --- development ---------------------------------------------------------------------------------------------------

format: ## format the code
	@.venv/bin/ruff format .

lint: ## check style (changes nothing)
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

fix: ## mend what the linter can mend
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

types: ## check types (mypy, strict)
	@.venv/bin/mypy

check: lint types ## lint and types

test: install-dev ## every test: unit, integration on real services, end to end with a browser
	@scripts/install-browser.sh
	@$(PYTEST)

test-unit: ## only the tests that start no service
	@$(PYTEST) -m "not integration and not e2e"

test-e2e: install-dev ## only the end-to-end test
	@scripts/install-browser.sh
	@$(PYTEST) tests/e2e

test-peers: install-dev ## the object store's and the core's tests against the real MinIO (built from source, once)
	@scripts/test-peers.sh
