# `make` alone lists what there is. Set-up leaves stamps in .venv, so that what is done is not done again.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/setup.log
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --progress-bar off -c constraints.txt
TOUR := notebooks/00_tour.ipynb
NBVAL := -p workbench.testing --nbval-cell-timeout=120
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile
CHECKED := build/checked

# Notebooks and subprocesses find the venv's tools and its folders, and not those of the caller.
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONPATH
unexport PYTHONHOME
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup lab test report bench notebooks lint unit checked fuzz doctor clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

# --- set-up -----------------------------------------------------------------------------------------------

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "workbench needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (some minutes, once; its log is $(LOG))"
	@$(PYTHON) -m venv $(VENV) || { echo "no venv could be made: on Debian, apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing the pinned packages"
	@{ $(PIP) setuptools cython numpy && $(PIP) --no-build-isolation -e '.[data,bench,test]'; } >$(LOG) 2>&1 || { tail -n 40 $(LOG); \
		echo "installing failed: all that pip said is in $(LOG); the kernels need a C compiler and Python's headers"; exit 1; }
	@touch $@

# The install has built the kernels, so without a stamp nothing is forced; new flags in setup.py force all.
$(VENV)/.kernels: FLAGS_CHANGED = $(and $(wildcard $@),$(filter setup.py,$?))
$(VENV)/.kernels: $(VENV)/.installed setup.py $(wildcard ext/*.pyx ext/*.pxd)
	@echo "building the kernels that changed"
	@$(if $(FLAGS_CHANGED),CYTHON_FORCE_REGEN=1) $(BIN)/python setup.py -q build_ext --inplace $(if $(FLAGS_CHANGED),--force)
	@touch $@

$(VENV)/.kernelspec: $(VENV)/.installed workbench/install.py $(wildcard workbench/assets/*)
	@$(BIN)/python -m workbench install
	@touch $@

setup: $(VENV)/.kernels $(VENV)/.kernelspec ## the venv, its packages, the kernels and the kernelspec

# --- what one does ----------------------------------------------------------------------------------------

lab: setup ## open JupyterLab on the tour
	@$(BIN)/python -m workbench lab $(TOUR) $(ARGS)

test: setup lint checked unit ## prove that all of it works: lint, laws, checked kernels, notebooks, export

report: setup ## run the tour and write reports/00_tour.html
	@$(BIN)/python -m workbench report $(TOUR) -o reports/00_tour.html

bench: setup ## speed against TA-Lib, pandas, bottleneck and polars, as ratios measured in one run
	@$(BIN)/python -m tests.bench $(ARGS)

notebooks: setup ## run every notebook as a test
	@$(PYTEST) $(NBVAL) notebooks

lint: setup ## ruff on Python and notebooks, cython-lint on the kernels
	@$(BIN)/ruff check -q --output-format concise .
	@$(BIN)/ruff format -q --check . || { echo "not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/cython-lint ext/*.pyx ext/*.pxd

unit: setup # the closing line of `make test` is the one that pytest prints here
	@$(PYTEST) $(NBVAL) tests notebooks $(ARGS)

checked: setup ## the law tests on kernels built with bounds checks
	@echo "building the kernels with bounds checks"
	@WORKBENCH_CHECKED=1 $(BIN)/python setup.py -q build --build-base $(CHECKED) --build-lib $(CHECKED)/lib
	@cd $(CHECKED)/lib && WORKBENCH_CHECKED=1 python -m pytest -q -n 2 -p no:cacheprovider -c "$(CURDIR)/pyproject.toml" \
		--rootdir "$(CURDIR)" $(addprefix "$(CURDIR)"/tests/test_,indicators.py series.py backtest.py labels.py)

fuzz: setup ## the property tests on fresh examples, a thousand each: some minutes
	@HYPOTHESIS_PROFILE=explore $(PYTEST) -m hypothesis tests $(ARGS)

doctor: ## what is installed, what is missing and how to get it
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m workbench doctor

clean: ## remove what was built; .venv and reports/ stay
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis ext/*.c ext/*.html $(VENV)/.kernels
	@find workbench/_ext -type f ! -name __init__.py -delete
	@find workbench tests notebooks ext -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	@rm -rf $(VENV)
