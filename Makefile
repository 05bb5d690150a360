PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
SAMPLE := samples/mocap.mp4
# Where pip finds a CPU build of PyTorch; see "Install" in README.md.
CAKE_TORCH_INDEX ?=
PIP_INDEX := $(if $(CAKE_TORCH_INDEX),--extra-index-url $(CAKE_TORCH_INDEX))
# Tests wait as much as they compute.
TEST_PROCESSES ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
APT := chromium redis-server ffmpeg prometheus \
	python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly

.PHONY: run test lint format bench fuzz soak chaos clean helm system-packages

run: $(VENV)/installed ## Serve on port 8000 and feed the sample video as a live camera would
	$(BIN)/cake serve --port $(PORT) --sample $(SAMPLE)

test: $(VENV)/installed-dev lint ## Everything: linters, types, layers, tests
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

lint: $(VENV)/installed-dev system-packages helm ## Style, types, layers, and what is deployed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	promtool check config deploy/prometheus/prometheus.yml
	$(BIN)/helm lint --strict deploy/helm/cake

helm: $(BIN)/helm ## Helm, for the chart's tests

$(BIN)/helm: tests/fetch_helm.py | $(VENV)/installed-dev
	$(BIN)/python tests/fetch_helm.py $@

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed
	$(BIN)/cake bench

fuzz: $(VENV)/installed-dev system-packages ## 2,400 damaged videos through a running service
	$(BIN)/python -m pytest tests/test_fuzz.py --fuzz-videos 2400 -o log_cli=true --log-cli-level=WARNING

soak: $(VENV)/installed-dev system-packages ## Half an hour of cameras that come and go; memory, threads and files must stay
	$(BIN)/python tests/soak.py

chaos: $(VENV)/installed-dev system-packages ## Five minutes in which workers are killed and clients roam
	$(BIN)/python tests/chaos.py

system-packages: ## Chromium, Redis, FFmpeg, GStreamer and promtool for the tests, through apt where this user may install
	@missing=""; for package in $(APT); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	  else echo "The tests need:$$missing. Install them, or run 'make test' as root on Debian or Ubuntu." >&2; exit 1; fi; \
	fi

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_INDEX) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_INDEX) -e '.[dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) data .mypy_cache .ruff_cache .pytest_cache
