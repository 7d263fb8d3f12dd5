# SPDX-License-Identifier: GPL-3.0-or-later
# `make help` lists the targets. Python 3.11 to 3.13, git and make are all that
# has to be there; the lab's own script installs the Debian packages it needs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV ?= .venv
# More arguments for pytest: make check ARGS='-k planner -x'
ARGS ?=

# Caches and scratch files stay in the user's cache folder, out of the checkout
# and out of a /tmp that others share.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sglang-fleet
export TMPDIR := $(CACHE)/tmp
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Ansible starts hundreds of short Python processes: compiled modules halve that.
unexport PYTHONDONTWRITEBYTECODE

$(shell mkdir -p '$(TMPDIR)')

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: env
env: ## Build or refresh .venv from requirements.lock
	@.ci/env $(VENV)

.PHONY: check
check: env ## Quick: lint, types, unit tests (no lab, under 3 minutes)
	@$(VENV)/bin/pytest tests/unit tests/gates -m 'not slow and not lab' $(ARGS)

.PHONY: test
test: env ## Everything: check, every gate, the planner's page, SGLang's own rules, the lab
	@$(VENV)/bin/pytest --numprocesses=2 $(ARGS)

.PHONY: chaos
chaos: env ## Break rollouts in the lab, under load (45 minutes; no part of test)
	@$(VENV)/bin/pytest tests/chaos $(ARGS)

.PHONY: lint-fix
lint-fix: env ## Let ruff format and fix what it can
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

.PHONY: docs
docs: env ## Write the variables of each role into its README, and the answers of the planner's page
	@$(VENV)/bin/python -m tests.gates.role_readme
	@$(VENV)/bin/python -m sglang_fleet.page

.PHONY: flags
flags: env ## Write catalogue/server_flags from the parsers of the lab's SGLang versions
	@PYTHONPATH=molecule/lab $(VENV)/bin/python -m images.flag_lists $(ARGS)

.PHONY: demo
demo: env ## Deploy a simulated fleet from start to finish
	@$(VENV)/bin/python molecule/lab/demo.py $(ARGS)

.PHONY: demo-down
demo-down: lab-down ## Take the demo's nodes away

.PHONY: lab-up
lab-up: ## Start the lab: nodes, network, registry
	@python3 molecule/lab/lab.py up $(ARGS)

.PHONY: lab-down
lab-down: ## Stop the lab and remove its nodes
	@python3 molecule/lab/lab.py down $(ARGS)

.PHONY: bench
bench: env ## Measure the project itself (benchmarks/)
	@PYTHONPATH=molecule/lab $(VENV)/bin/python benchmarks/bench.py $(ARGS)

.PHONY: build
build: env ## Build the collection's tarball into build/
	@$(VENV)/bin/ansible-galaxy collection build --force --output-path build .

.PHONY: lock
lock: env ## Bring requirements.lock up to date with pyproject.toml
	@$(VENV)/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
	  --quiet --output-file requirements.lock $(ARGS)
