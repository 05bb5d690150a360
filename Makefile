VENV := .venv
BIN := $(VENV)/bin
# The interpreter that was named, else the one of an existing .venv, else python3.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(firstword $(wildcard $(BIN)/python) python3)
endif
PORT ?= 8000
SAMPLE := samples/people.mp4
# Where pip finds a CPU build of PyTorch; see "Quick start" in README.md.
CAKE_TORCH_INDEX ?=
PIP_INDEX := $(if $(CAKE_TORCH_INDEX),--extra-index-url $(CAKE_TORCH_INDEX))
# Tests wait, for cameras and for each other, twice as long as they compute.
TEST_PROCESSES ?= $(shell echo $$(( $$(nproc) * 3 )))
# Tests and new environments start hundreds of processes, each of which would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE
# Programs that tests use, each with its Debian package; GStreamer is used from the system's Python.
PROGRAMS := chromium:chromium redis-server:redis-server mosquitto:mosquitto ffmpeg:ffmpeg promtool:prometheus nginx:nginx-light caddy:caddy node:nodejs npm:npm
GSTREAMER := python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-ugly

# Each version has its lock files; README.md names them.
PYTHON_VERSIONS := 3.11 3.12 3.13
PRINT_VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
PYTHON_VERSION := $(shell $(PYTHON) $(PRINT_VERSION) 2>/dev/null)
LOCK := requirements/py$(PYTHON_VERSION)
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
# Training needs PyTorch, serving does not. It is pinned in pyproject.toml, and installing the project with the extra `train` adds
# it: its index, and so its hash, is the user's choice.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
INSTALL_LOCKED := $(PIP_INSTALL) --require-hashes --no-deps -r
INSTALL_PROJECT := $(PIP_INSTALL) --no-build-isolation -e
SMOKE := $(BIN)/python -m tests.smoke.run $(if $(CAKE_TORCH_INDEX),--torch-index $(CAKE_TORCH_INDEX))

.PHONY: help run test test-all run-tests lint format train-tools bench fuzz reproduction soak chaos previous-release generated-clients clean helm lock smoke smoke-of-locks sbom pin-images release-check \
	check-machine check-port system-packages
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 18

run: check-port $(VENV)/installed ## Serve on PORT (8000) and play the sample video as a camera would
	$(BIN)/cake serve --port $(PORT) --sample $(SAMPLE)

test: SELECTED := -m "not slow"
test: run-tests ## Linters, types, layers, smoke test, and the tests that take little time

test-all: SELECTED := --durations 20
test-all: run-tests ## The same with all tests, as CI does

run-tests: $(VENV)/installed-dev system-packages .identity-provider/installed
	$(MAKE) --jobs=2 --output-sync=target lint smoke-of-locks
	$(BIN)/python -m pytest $(SELECTED) -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder || { [ $$? = 1 ] && \
	  echo "Tests failed beside others. The same tests once more, by themselves:" && \
	  $(BIN)/python -m pytest $(SELECTED) --last-failed --last-failed-no-failures none; }

smoke-of-locks: $(VENV)/installed-dev
	$(SMOKE)

lint: $(VENV)/installed-dev helm ## Style, types, layers and deployment files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry model service
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@if command -v promtool >/dev/null || [ "$(CI)" = true ]; then promtool check config deploy/prometheus/prometheus.yml; \
	else echo "skipped: promtool is not installed"; fi
	$(BIN)/helm lint --strict deploy/helm/cake
	$(BIN)/python .ci/audit.py $(LOCK)-train.lock $(TORCH)

helm: $(BIN)/helm ## Fetch Helm, for the tests of the chart

$(BIN)/helm: tests/support/fetch_helm.py | $(VENV)/installed-dev
	$(BIN)/python tests/support/fetch_helm.py $@

format: $(VENV)/installed-dev ## Fix style where that is possible
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-tools: $(VENV)/installed-train ## Install PyTorch and what else `cake train`, `eval`, `synth`, `explain` and `embed` need

bench: $(VENV)/installed-train ## Measure this machine; takes half an hour
	$(BIN)/cake bench

.identity-provider/installed: tests/identity/packages.txt ## The provider with which the tests of signing in run
	npm install --silent --prefix .identity-provider $$(cat $<)
	touch $@

generated-clients: $(VENV)/installed-dev ## Generate clients of the API with three generators and use them; needs Java, Node and npm
	$(PYTHON) -m venv .generators && .generators/bin/pip install -q -r tests/generated_clients/requirements.txt
	npm install --silent --prefix .generators $$(cat tests/generated_clients/packages.txt)
	PATH="$(CURDIR)/.generators/bin:$(CURDIR)/.generators/node_modules/.bin:$$PATH" \
	  $(BIN)/python -m pytest tests/generated_clients/test_*.py

fuzz: $(VENV)/installed-dev system-packages ## Send 2,400 damaged videos through a running service
	$(BIN)/python -m pytest tests/fuzz/test_fuzz.py --fuzz-videos 2400 -o log_cli=true --log-cli-level=WARNING

reproduction: $(VENV)/installed-dev ## Run the commands of docs/reproduce.md on small data in the same layout
	$(BIN)/python -m pytest tests/docs/reproduce_page.py

soak: $(VENV)/installed-dev system-packages ## Start and stop cameras for MINUTES (60); memory, threads and files must not grow
	$(BIN)/python -m tests.endurance.soak $(if $(MINUTES),--minutes $(MINUTES))

chaos: $(VENV)/installed-dev system-packages ## Disturb Redis, servers, workers, disks and receivers for MINUTES (10) while clients reconnect
	$(BIN)/python -m tests.endurance.chaos $(if $(MINUTES),--minutes $(MINUTES))

previous-release: $(VENV)/installed-dev system-packages ## Run version 0.1 beside this one, and before and after it
	$(BIN)/python -m pytest tests/endurance/previous_release.py

smoke: $(VENV)/installed-dev ## Install from the locks and use it on every supported Python version, with PyTorch (CUDA builds take 5 GB each)
	$(SMOKE) --full

lock: $(VENV)/installed-dev ## Pin all dependencies, with hashes, per Python version; UPGRADE=1 takes new releases
	@for version in $(PYTHON_VERSIONS); do \
	  lock=requirements/py$$version; \
	  compile="$(BIN)/uv pip compile -q $(if $(UPGRADE),--upgrade) --python-version $$version pyproject.toml --extra build --extra apprise --extra oidc --extra otel"; \
	  $$compile --extra train --extra dev -o $$lock-dev.lock && \
	  $$compile --extra train -c $$lock-dev.lock -o $$lock-train.lock && \
	  $$compile -c $$lock-dev.lock -o $$lock.lock || exit 1; \
	done

sbom: $(VENV)/installed-dev ## Write build/sbom/*.cdx.json: the packages of an installation, in the format CycloneDX
	@mkdir -p build/sbom
	@for lock in $(filter-out %-dev.lock,$(wildcard requirements/*.lock)); do \
	  (cat $$lock; case $$lock in *-train.lock) echo "$(TORCH)";; esac) | PYTHONWARNINGS=ignore $(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py \
	    requirements - --pyproject pyproject.toml --output-reproducible -o build/sbom/$$(basename $$lock .lock).cdx.json || exit 1; \
	done

pin-images: ## Pin the images of docker/Dockerfile and docker-compose.yml by digest; needs Docker and the registries
	$(PYTHON) docker/pin_images.py

release-check: sbom ## Check what a release needs beyond the tests: images pinned by digest, lists of packages
	$(PYTHON) docker/pin_images.py --check

check-machine:
	@.ci/preflight.sh "$(PYTHON)" "$(PYTHON_VERSIONS)"

check-port:
	@.ci/preflight.sh "$(PYTHON)" "$(PYTHON_VERSIONS)" $(PORT)

system-packages: ## Find the programs that tests use; as root on Debian or Ubuntu, install the missing ones
	@missing=""; for program in $(PROGRAMS); do \
	  command -v $${program%%:*} >/dev/null || missing="$$missing $${program##*:}"; done; \
	/usr/bin/python3 -I -c "import gi; gi.require_version('GstRtspServer', '1.0')" 2>/dev/null || missing="$$missing $(GSTREAMER)"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then echo "Not installed:$$missing. The tests that use them are skipped." >&2; fi

# A .venv of another Python version is replaced.
$(VENV)/python-$(PYTHON_VERSION): | check-machine
	@if [ "$$($(BIN)/python $(PRINT_VERSION) 2>/dev/null)" != "$(PYTHON_VERSION)" ]; then \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); fi
	@touch $@

$(VENV)/installed: pyproject.toml $(wildcard requirements/*.lock) | $(VENV)/python-$(PYTHON_VERSION)
	@echo "Installing into $(VENV): 0.6 GB, a minute or two. Later starts take seconds."
	$(INSTALL_LOCKED) $(LOCK).lock
	$(INSTALL_PROJECT) .
	@touch $@
	@echo "Run '. $(BIN)/activate' to put cake on your PATH."

$(VENV)/installed-train: $(VENV)/installed
	$(INSTALL_LOCKED) $(LOCK)-train.lock
	$(INSTALL_PROJECT) '.[train]' $(PIP_INDEX)
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(wildcard requirements/*.lock) | $(VENV)/python-$(PYTHON_VERSION)
	$(INSTALL_LOCKED) $(LOCK)-dev.lock
	$(INSTALL_PROJECT) '.[dev]' $(PIP_INDEX)
	@touch $@ $(VENV)/installed $(VENV)/installed-train

clean:
	rm -rf $(VENV) data .mypy_cache .ruff_cache .pytest_cache
