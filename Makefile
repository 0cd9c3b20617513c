# Every target explains itself: `make help` prints the comment behind its name.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
.PHONY: help setup start demo up stop restart status logs backup restore doctor clean test-pipeline verify \
        minio-buckets minio-upload-sample minio-verify minio-console \
        airflow-cli airflow-logs airflow-test-dag airflow-connections airflow-reset \
        install install-dev dev-setup venv-info lock lock-check run-api run-lineage-consumer run-otel-consumer \
        format lint fix types check test test-unit test-e2e test-compose test-peers bench-peers

DP := .venv/bin/dp
PYTEST := .venv/bin/python -m pytest

help: ## list every target
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | sort | \
	  awk -F'\t' '{printf "  \033[1m%-20s\033[0m %s\n", $$1, $$2}'

# --- the platform --------------------------------------------------------------------------------------------------

setup: .venv-platform ## write .env with fresh machine secrets (PRODUCTION=1: generated passwords too)
	@$(DP) setup $(if $(PRODUCTION),--production)

start: .venv-platform ## start the platform on Docker Compose, its images built where they have changed
	@$(DP) start

demo: ## without Docker: install, start everything, take the sample from bucket to dashboard, print what happened
	@scripts/install-both.sh
	@$(DP) demo

up: install ## start the stack without Docker (or: make up SERVICES="postgres s3")
	@$(DP) up $(SERVICES)

stop: installed ## stop the stack that is up and keep its data
	@$(DP) down

restart: installed ## stop the stack that is up and start it again
	@$(DP) restart

status: installed ## show each service: state, address, process, memory
	@$(DP) status

logs: installed ## show the services' logs (SERVICE=airflow-scheduler for one, FOLLOW=1 to keep on)
	@$(DP) logs $(SERVICE) $(if $(FOLLOW),--follow)

backup: installed ## write databases, buckets and keys of the stack that is up into a folder (TO=folder)
	@$(DP) backup $(TO)

restore: installed ## put a backup into an empty stack (FROM=folder; REPLACE=1 throws away what the stack holds)
	@test -n "$(FROM)" || { echo "say which backup: make restore FROM=backups/<time>" >&2; exit 1; }
	@$(DP) restore $(FROM) $(if $(REPLACE),--replace)

doctor: .venv-platform ## check memory, disk, ports and versions; each finding with its cure
	@$(DP) doctor

clean: ## stop the stack and remove its services, volumes, data and environments (asks first; FORCE=1 does not)
	@scripts/clean.sh $(if $(FORCE),--force)

test-pipeline: installed ## take the sample through the stack that is up, bucket to marts, and compare every count
	@$(DP) test-pipeline

verify: installed ## run the commands of submission.yml against the metadata service and compare what they answer
	@$(DP) verify

# --- its buckets ---------------------------------------------------------------------------------------------------

minio-buckets: installed ## make the buckets raw, staging and curated, with versioning, policies and accounts
	@$(DP) minio buckets

minio-upload-sample: installed ## put the sample files into raw/<dataset>/incoming/
	@$(DP) minio upload-sample

minio-verify: installed ## check buckets, reading and writing, versioning, and what producers may do
	@$(DP) minio verify

minio-console: installed ## tell where the object store's web pages are
	@$(DP) minio console

# --- its Airflow ---------------------------------------------------------------------------------------------------

airflow-cli: installed ## run the airflow command inside the stack: make airflow-cli CMD="dags list"
	@test -n '$(CMD)' || { echo 'say what to run: make airflow-cli CMD="dags list"' >&2; exit 2; }
	@$(DP) airflow cli $(CMD)

airflow-logs: installed ## show the logs of Airflow's processes (FOLLOW=1 to keep on)
	@$(DP) logs airflow $(if $(FOLLOW),--follow)

airflow-test-dag: installed ## run a DAG once inside the stack, without the scheduler: make airflow-test-dag DAG=build__curated
	@test -n '$(DAG)' || { echo 'say which: make airflow-test-dag DAG=build__curated' >&2; exit 2; }
	@$(DP) airflow cli dags test $(DAG)

airflow-connections: installed ## write the connections of pipelines/config/connections.yaml again, and list them
	@$(DP) airflow connections

airflow-reset: installed ## throw Airflow's database away and make it anew (asks first; FORCE=1 does not)
	@$(DP) airflow reset $(if $(FORCE),--yes)

# --- environments and locks ----------------------------------------------------------------------------------------

.PHONY: .venv-platform installed
.venv-platform:
	@scripts/install.sh platform
installed:
	@test -x $(DP) || { echo "nothing is installed yet: 'make start' (Docker Compose) or 'make demo' (no Docker) does it" >&2; exit 1; }

install: ## make the platform's and Superset's environments from their locks
	@scripts/install-both.sh

install-dev: ## the same, with the test and lint tools
	@scripts/install.sh dev
	@scripts/install.sh superset

dev-setup: install-dev ## all that a contributor needs: environments with test tools, .env, a browser for the tests
	@$(DP) setup
	@scripts/install-browser.sh

venv-info: ## tell what the environments are: Python, packages, size
	@scripts/venv-info.sh

lock: ## compile requirements/*.in into hashed locks (UPGRADE=1 for newer versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

lock-check: ## fail if a lock is not what its .in file compiles to
	@scripts/lock.sh --check

# --- development ---------------------------------------------------------------------------------------------------

run-api: .venv-platform ## run the metadata service in the foreground on the stack's Postgres (METADATA_PORT moves it)
	@$(DP) run-api

run-lineage-consumer: .venv-platform ## run the consumer of lineage in the foreground: from Kafka into the stack's store, and Marquez
	@$(DP) run-consumer lineage

run-otel-consumer: .venv-platform ## run the consumer of spans and metrics in the foreground: from Kafka into their store
	@$(DP) run-consumer otel

format: ## format the code
	@.venv/bin/ruff format .

lint: ## check style of Python, YAML, shell scripts, Dockerfiles and the Compose file (changes nothing)
	@scripts/lint.sh

fix: ## mend what the linter can mend
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

types: ## check types (mypy, strict)
	@.venv/bin/mypy

check: lint types ## lint and types

test: install-dev ## every test: unit, integration on real services, end to end with a browser
	@scripts/install-browser.sh
	@scripts/install-prometheus.sh
	@$(PYTEST)

test-unit: ## only the tests that start no service
	@$(PYTEST) -m "not integration and not e2e"

test-e2e: install-dev ## only the end-to-end test
	@scripts/install-browser.sh
	@$(PYTEST) tests/e2e

test-compose: install-dev ## the platform on Docker Compose: health, parity with the local stack, recovery from kills
	@scripts/test-compose.sh

bench-peers: installed ## the metadata service beside a real Marquez, where Java and Maven are there
	@$(DP) bench peers

test-peers: install-dev ## against the real MinIO (built from source, once), Kafka, killed under load, and Spark (both from Maven)
	@scripts/test-peers.sh
