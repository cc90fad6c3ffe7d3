# Everything a person or CI does with this checkout. `make` alone lists it.
# Plain enough for the GNU make 3.81 that macOS brings.

VENV ?= .venv
BIN := $(VENV)/bin
PORT ?=
ARGS ?=

# The first Python on PATH that is new enough and really runs (a pyenv shim may only pretend).
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; break; fi; done)

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command "make lock" --upgrade
SOURCES := pyproject.toml requirements/build.in

.PHONY: help run test suites soak fuzz faults check lint format bench scale docs lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

run: $(VENV)/run.stamp  ## start the demo and print its address (PORT=8081 for another port)
	@$(BIN)/gateway demo $(if $(PORT),--port $(PORT))

test: $(VENV)/dev.stamp  ## run all tests, with real servers (ARGS="-k cookie" for some)
	@.ci/servers redis-server chromium postgresql pgbouncer slowhttptest systemd
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

suites: $(VENV)/dev.stamp  ## other people's test suites, every case
	@.ci/servers slowhttptest
	@GATEWAY_SUITES=full $(BIN)/python -m pytest tests/suites $(ARGS)

soak: $(VENV)/dev.stamp  ## 1 GiB up and down past slow readers: the gateway's memory stays small
	@GATEWAY_SOAK=1 $(BIN)/python -m pytest tests/integration/test_streaming.py -s $(ARGS)

fuzz: $(VENV)/dev.stamp  ## forged and broken cookies of every format for ten minutes (GATEWAY_FUZZ=60: one)
	@GATEWAY_FUZZ=$${GATEWAY_FUZZ:-600} $(BIN)/python -m pytest -s tests/fuzz $(ARGS)

lint: $(VENV)/dev.stamp  ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

faults: $(VENV)/dev.stamp  ## upstreams and stores failing in every way for a minute each, under load
	@.ci/servers redis-server postgresql pgbouncer
	@GATEWAY_FAULTS=60 $(BIN)/python -m pytest -s tests/faults tests/stores_faults \
		tests/integration/test_revocation.py $(ARGS)

check: lint test  ## lint and test

format: $(VENV)/dev.stamp  ## let ruff put the code in shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/dev.stamp $(VENV)/bench.stamp  ## what it costs beside other proxies (ARGS=--help)
	@$(BIN)/python -m tests.bench $(ARGS)

scale: $(VENV)/dev.stamp  ## what a million sessions cost in each store (ARGS="redis --sessions 100000")
	@.ci/servers redis-server postgresql
	@$(BIN)/python -m tests.bench.sessions_at_scale $(ARGS)

docs: $(VENV)/dev.stamp  ## renew what the documentation takes from the code
	@$(BIN)/python -m tools.reference

lock: $(BIN)/python  ## renew requirements/*.txt from pyproject.toml
	@$(PIP) install uv
	@$(LOCK) $(SOURCES) --output-file requirements/run.txt
	@$(LOCK) requirements/build.in --constraints requirements/run.txt \
		--output-file requirements/build.txt
	@$(LOCK) $(SOURCES) --constraints requirements/run.txt --extra dev \
		--output-file requirements/dev.txt
	@$(LOCK) $(SOURCES) --constraints requirements/run.txt --extra bench \
		--output-file requirements/bench.txt

clean:  ## remove the environment and whatever was generated
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed, and none is on PATH:" \
			"apt-get install python3 python3-venv, or brew install python" >&2; exit 1; fi
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment:" \
			"on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

# The lock files hold a hash for every file. setuptools comes first, so that building what has no
# wheel, and the project itself, downloads nothing else.
$(VENV)/%.stamp: requirements/%.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(PIP) install --require-hashes --requirement requirements/build.txt
	@$(PIP) install --require-hashes --no-build-isolation --requirement requirements/$*.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Not installed, but read as files: the WebSocket cases of tests/suites.
test suites: $(VENV)/autobahn.stamp

$(VENV)/autobahn.stamp: requirements/autobahn.txt | $(VENV)/dev.stamp
	@rm -rf $(VENV)/autobahn
	@$(PIP) download --require-hashes --no-deps --no-binary :all: --no-build-isolation \
		--requirement requirements/autobahn.txt --dest $(VENV)/autobahn
	@tar -xzf $(VENV)/autobahn/autobahntestsuite-*.tar.gz -C $(VENV)/autobahn
	@touch $@
