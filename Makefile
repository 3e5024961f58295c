# `make help` lists the targets. A target first creates .venv if it is missing or out of date.

PYTHON ?= python3
BOARD ?= quick
PORT ?= 5000
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
# Set TORCH_INDEX to install torch from another package index, for example one of CPU-only wheels.
TORCH := torch -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

export PATH := $(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help setup venv-module chromium unlock repro test slow exhaustive lint types faults canaries docs check bench picture structure ablation heirs rule synops tune site release ui clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## create .venv with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 setup'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-module
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# In Debian, Python's venv module is a package of its own. Install it as root; otherwise say how.
venv-module:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'Installing python3-venv, a separate package in Debian.'; \
	  apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
	else \
	  echo 'Python has no venv module; as root, run "apt-get install python3-venv", then try again.'; \
	  exit 1; \
	fi

# Some tests open the page in a browser. They are skipped if there is none.
chromium: ## install the browser for tests of the page (on Debian, as root)
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'Installing chromium, for the tests that open the page.'; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
	  echo 'Chromium is missing, so tests of the page are skipped; as root, run "apt-get install chromium".'; \
	fi

# A killed DVC may leave its file of locks empty, and then refuses every further command.
unlock:
	@find .dvc/tmp -maxdepth 1 -name rwlock -size 0 -delete 2>/dev/null || true

repro: $(STAMP) unlock ## compute a board with DVC, fill MLflow, print the best rows; BOARD=embedded: every baseline
	dpap-bench digest
	dvc repro report@$(BOARD)
	dpap-bench report --board $(BOARD)
	dpap-bench sync
	@dpap-bench report --board $(BOARD) --show

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m "not slow and not exhaustive" --ignore=tests/perf

slow: $(STAMP) ## run the slow tests, such as the whole pipeline at a small size
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m slow --durations=20 --ignore=tests/perf

exhaustive: $(STAMP) ## run tests with thousands of random examples
	$(BIN)/python -m pytest -n 2 -q -m exhaustive

lint: $(STAMP) ## check format and rules by ruff, and the layers of .importlinter
	ruff format --check .
	ruff check .
	lint-imports

types: $(STAMP) ## check types by mypy --strict
	mypy

faults: $(STAMP) ## kill, fill, edit and forge on a small board; count what is lost or wrong
	$(BIN)/python -m tools.faults

canaries: $(STAMP) ## run small cells and compare their outcomes with those in results/canaries
	dpap-bench canaries

docs: $(STAMP) ## build the documentation into build/docs; a broken link is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --write-all --quiet \
	  -d build/doctrees docs build/docs
	@echo 'Documentation: build/docs/index.html'

check: lint types canaries test slow ## run all checks of continuous integration

bench: $(STAMP) ## measure speed; write docs/performance.md and pipelines/kernels/README.md
	@mkdir -p build
	$(BIN)/python -m pytest tests/perf -q -p no:xdist --benchmark-columns=median \
	  --ignore tests/perf/test_kernels.py --benchmark-json=build/benchmarks.json
	$(BIN)/python -m tools.speed_page build/benchmarks.json docs
	$(BIN)/python -m pytest tests/perf/test_kernels.py -q -p no:xdist --benchmark-columns=median \
	  --benchmark-json=build/kernels.json
	$(BIN)/python -m tools.kernel_page build/kernels.json

picture: $(STAMP) ## draw the pictures of README.md and docs/ (after make repro)
	cp results/boards/quick/figures/digits-snn-accuracy-density.svg docs/
	$(BIN)/python -m tools.survival_picture

structure: $(STAMP) ## write the table of docs/structure.md from the tree
	$(BIN)/python -m tools.structure

ablation: $(STAMP) ## compute the ablations of DPAP and write their tables into docs/dpap.md
	dpap-bench sweep --board dpap-ablation
	dpap-bench report --board dpap-ablation --update docs/dpap.md

heirs: $(STAMP) ## compare DPAP with the methods derived from it and write the tables into docs/dpap-heirs.md
	dpap-bench sweep --board dpap-heirs
	dpap-bench report --board dpap-heirs --update docs/dpap-heirs.md

rule: $(STAMP) ## compute DPAP's rule beside random order in other settings, for docs/dpap.md
	dpap-bench sweep --board dpap-rule
	dpap-bench report --board dpap-rule --update docs/dpap.md

synops: $(STAMP) ## compare methods that aim at the same number of SynOps
	dpap-bench sweep --board equal-synops
	dpap-bench report --board equal-synops

tune: $(STAMP) ## tune every method, write what is better to methods.yaml and the table to docs/tuning.md
	dpap-bench tune --all
	dpap-bench tune --report --update docs/tuning.md

site: docs ## build documentation and all boards into site/; it opens on the board desk
	dpap-bench publish --to site --docs build/docs --home desk --home quick --partial

release: $(STAMP) ## write version and date, commit and tag them: make release VERSION=X.Y.Z
	$(BIN)/python -m tools.release $(VERSION)

ui: $(STAMP) ## serve MLflow on 127.0.0.1; PORT=5001 sets another port
	dpap-bench sync --uri sqlite:///mlflow.db
	@echo 'Open http://127.0.0.1:$(PORT); Ctrl-C stops it.'
	mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1

clean: ## remove all computed results that are not in git; keep .venv
	rm -rf mlflow.db mlruns site
	git clean -fdXq results pipelines/stages
