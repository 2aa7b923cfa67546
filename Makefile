# Every target but clean stands on setup, which does only what is not done yet.
# HEADLESS, SEED, SUCCESS_RATE, HASH_ITERATIONS, PORT and DBG count on the command line and from the environment
# (make hands both on to the programs). PYTHON names the Python that makes .venv.

PYTHON ?= python3
VENV := .venv/bin/python

# So many tests at once (0: one after another, in one process), a file in one go: its tests share what they start.
WORKERS ?= 2
SIDE_BY_SIDE = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

BENCHES := $(filter-out report,$(patsubst bench/%.py,%,$(wildcard bench/[a-z]*.py)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench mutants nightly docs clean
.PHONY: check-style check-types check-scripts check-imports check-tree

help:
	@echo 'make demo [HEADLESS=1] [SEED=7]   five machines at work: open the printed address, or watch the terminal'
	@echo 'make demo DBG=FILE.amdbg          the same, recorded: .venv/bin/am dbg ls FILE.amdbg'
	@echo 'make test | check                 all tests | lint, types, import rules (PROXIES=1, FIREFOX=1: with these)'
	@echo 'make bench [NAME=thread]          figures, each within five minutes'
	@echo 'make nightly TIME=30              long property, fuzz and load runs, in minutes'
	@echo 'make mutants [NAME=relations]     break the code on purpose: do the tests see it?'
	@echo 'make docs                         check the links of the documents'
	@echo 'make setup | clean                install everything | remove what was installed and made'

setup:
	@$(PYTHON) scripts/bootstrap.py

demo: setup
	@$(VENV) -m examples.wasm_workflow $(if $(filter-out 0 no false,$(HEADLESS)),--headless)

test: setup
	@$(VENV) -m scripts.programs
	$(VENV) -m pytest $(SIDE_BY_SIDE) -m 'not nightly'
	$(VENV) -m tests.conformance
	$(VENV) -m pytest $(SIDE_BY_SIDE) -m 'not nightly' playwright

# Separate, so that `make -k check` shows all there is to mend.
check: check-style check-types check-scripts check-imports check-tree

check-style: setup
	$(VENV) -m ruff check
	$(VENV) -m ruff format --check

check-types: setup
	$(VENV) -m mypy

check-scripts: setup
	PATH="$(CURDIR)/.venv/bin:$$PATH" node_modules/.bin/tsc --noEmit --project web/static

check-imports: setup
	.venv/bin/lint-imports --no-logo

check-tree: setup
	$(VENV) -m scripts.tree_rules
	$(VENV) -m scripts.doc_links

bench: setup
	@set -e; for name in $(or $(NAME),$(BENCHES)); do $(VENV) -m bench.$$name; done

mutants: setup
	$(VENV) -m scripts.mutants $(NAME)

nightly: setup
	$(VENV) -m scripts.nightly $(TIME)

docs: setup
	$(VENV) -m scripts.doc_links

clean:
	@$(PYTHON) scripts/bootstrap.py --clean
