# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help run test test-fast coverage browser lint docs benchmarks wheel clean clean-runs

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable '.[offline]'
	@touch $@

$(TOOLS): $(READY)
	$(INSTALL) --editable '.[offline,icd,local-llm,dev]'
	@touch $@

run: $(READY)  ## Fine-tune MiniLM on Python's documentation and report whether it helped
	$(BIN)/python -m embexp.run $(ARGS)

test: $(TOOLS) browser lint docs  ## Run every test, with real models too
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(TOOLS)  ## Run the tests without real models
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow' $(ARGS)

coverage: $(TOOLS)  ## Run every test, and list the lines that none reaches: twice the time
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term-missing:skip-covered $(ARGS)

browser:  # Chromium for the tests of pages, where it can be installed
	@.ci/browser

lint: $(TOOLS)  ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

docs: $(TOOLS)  ## Build the site into site/, and fail on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

benchmarks: $(TOOLS)  ## Measure speed and quality beside other programs, and write docs/performance.md
	$(BIN)/python benchmarks/performance.py $(ARGS)

wheel: $(TOOLS)  ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --installer pip

clean:  ## Delete the environment and what was built; runs stay
	rm -rf $(VENV) dist site

clean-runs:  ## Delete the runs, their cache and mlflow.db, after asking
	@printf 'Delete everything in outputs/ and mlruns/, and mlflow.db? [y/N] ' && read answer && [ "$$answer" = y ]
	rm -f mlflow.db*
	find outputs mlruns -mindepth 1 ! -name README.md -delete
