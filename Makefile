# Every command of the project; the same ones run on a laptop and in continuous integration.
# `make run` needs Python 3.11 or 3.12 (with pip and venv), make and git, and nothing else.

SHELL := /bin/sh
VENV_PYTHON := .venv/bin/python
.DEFAULT_GOAL := help

# A shell's Python habits must not decide how the project runs: bytecode is kept, packages come from .venv alone.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME PYTHONSAFEPATH

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: installed ## set up, start everything, make one real image and serve until Ctrl-C; ARGS=--once ends after the image
	@exec $(VENV_PYTHON) -m cli.main up --demo $(ARGS)

.PHONY: prove
prove: installed ## 200 images, each asked for twice, while a worker is killed and Redis is wiped: nothing lost or doubled
	@exec $(VENV_PYTHON) -m cli.main prove $(ARGS)

.PHONY: test
test: installed-dev ## the whole test suite with its coverage bounds; ARGS=tests/unit runs a part, without the bounds
	@scripts/test $(ARGS)

.PHONY: check
check: installed-dev ## format, lint, types, imports, architecture, secrets, migrations, documents
	@scripts/check

.PHONY: fix
fix: installed-dev ## format, mend what the linter can mend, and write the generated documents anew
	@$(VENV_PYTHON) -m ruff format --quiet
	@$(VENV_PYTHON) -m ruff check --quiet --fix
	@$(VENV_PYTHON) -m scripts.reference

.PHONY: bench
bench: installed-dev ## measure throughput, latency and memory; ROUNDS=n repeats
	@exec $(VENV_PYTHON) -m bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

.PHONY: faults
faults: installed-dev ## kill processes at named and at random places, then audit by SQL and files; SEED=n ROUNDS=n
	@exec $(VENV_PYTHON) -m bench.faults $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

.PHONY: lock
lock: ## write requirements/*.txt anew from pyproject.toml; UPGRADE=1 takes the newest versions its ranges allow
	@scripts/lock $(if $(UPGRADE),--upgrade)

# Nothing happens here when the packages that are locked are those that are installed.
.PHONY: installed installed-dev
installed:
	@scripts/setup run
installed-dev:
	@scripts/setup dev
