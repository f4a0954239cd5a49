# Everything a newcomer needs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := domain application adapters entrypoints

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# One stamp for each set of locked dependencies: what a user needs, and what a developer needs.
STAMP := $(VENV)/.ready
DEVELOP := $(VENV)/.ready-to-develop

$(STAMP): requirements/build.txt requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned dependencies into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOP): $(STAMP) requirements/dev.txt
	@echo "installing pinned development tools into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(DEVELOP) ## Make .venv with all pinned dependencies

.PHONY: check
check: $(DEVELOP) ## Lint and type-check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

.PHONY: test
test: $(DEVELOP) ## Run all tests (REQUIRE_SERVICES=1: a missing server is a failure)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

.PHONY: demo
demo: $(STAMP) ## Send a photo through an embedded pipeline (PHOTO=path: your own)
	@$(BIN)/pipeline demo $(if $(PHOTO),"$(PHOTO)")

.PHONY: run
run: $(STAMP) ## Run the embedded pipeline: API on 8080, metrics on 9091, data in ./data
	@$(BIN)/pipeline embedded

.PHONY: simulate
simulate: $(DEVELOP) ## Simulate crashes and faults: RUNS=100000, or SEED=n for one run
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--runs $(or $(RUNS),10000))

.PHONY: compose-test
compose-test: ## Run docker-compose.yml for real (needs docker; not part of `make test`)
	@deploy/compose-test


.PHONY: soak
soak: $(DEVELOP) ## Kill real processes and servers at random: MINUTES=n, SET=production|embedded, SEED=n
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SET),--set $(SET)) $(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: $(DEVELOP) ## Measure on real servers: docs/benchmarks.md (QUICK=1: a tenth; PHOTOS=folder: your JPEGs)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(PHOTOS),--corpus "$(PHOTOS)")

.PHONY: bench-images
bench-images: $(DEVELOP) ## Measure both image engines beside a plain script: PHOTOS=folder of JPEGs
	@$(BIN)/python -m tests.bench.images "$(PHOTOS)"

.PHONY: corpus
corpus: $(DEVELOP) ## Run every file of IMAGE_CORPUS through both image engines
	@$(BIN)/python -m pytest tests/corpus --full-corpus
