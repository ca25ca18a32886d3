# Two commands from nothing: `make demo` trains, `make test` proves. Both set everything up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEERS  := .venv-peers
VLLM   := .venv-vllm

.DEFAULT_GOAL := help
.PHONY: help setup extras demo test test-all check format peers test-peers vllm test-vllm bench constraints clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt tools/setup.sh
	@bash tools/setup.sh $(VENV) $(PYTHON)
	@touch $@

demo: $(READY) ## train arithmetic from scratch, evaluate before and after, draw the plot
	@$(BIN)/whet train arithmetic

test: $(READY) ## the default tests (under 4 minutes on 2 cores)
	@$(BIN)/python -m pytest

extras: $(VENV)/.extras ## add every optional package to .venv, so that none of their tests is left out

$(VENV)/.extras: $(READY)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $$(command -v uv || echo $(BIN)/uv) pip install --quiet --compile-bytecode \
	  -c constraints.txt -e ".[data,json,math,quant,reasoning_gym,serve,trackio,wandb]"
	@touch $@

test-all: $(VENV)/.extras ## the default tests and the slow proofs, those of optional packages too
	@$(BIN)/python -m pytest -m "not peer and not gpu and not vllm" --durations=15

check: $(READY) ## format, lint, types and house rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n 0 tests/test_house.py

format: $(READY) ## rewrite the code in the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

peers: $(PEERS)/.ready ## make .venv-peers with TRL, to compare with

$(PEERS)/.ready: $(READY) tools/setup_peers.sh
	@bash tools/setup_peers.sh $(PEERS) $(PYTHON) $(VENV)
	@touch $@

test-peers: $(PEERS)/.ready ## compare losses, gradients and speed with TRL
	@$(PEERS)/bin/python -m pytest -n 0 -m peer

vllm: $(VLLM)/.ready ## make .venv-vllm with vLLM's CPU build, to sample with

$(VLLM)/.ready: $(READY) tools/setup_vllm.sh
	@bash tools/setup_vllm.sh $(VLLM) $(PYTHON) $(VENV)
	@touch $@

test-vllm: $(VLLM)/.ready ## the tests that need vLLM itself
	@$(VLLM)/bin/python -m pytest -n 0 -m vllm

bench: $(PEERS)/.ready ## time rollouts, whole steps and start-up beside others, in a few minutes
	@$(PEERS)/bin/python bench/rollout.py --size tiny
	@$(PEERS)/bin/python bench/step.py --size tiny --memory
	@$(PEERS)/bin/python bench/scaling.py --size tiny --most 256
	@$(PEERS)/bin/python bench/scaling.py --size tiny --roof
	@$(BIN)/python bench/startup.py --repetitions 3

constraints: $(READY) ## pin the newest versions that fit into constraints.txt
	@bash tools/lock.sh $(VENV)

clean: ## remove the environments
	rm -rf $(VENV) $(PEERS) $(VLLM)
