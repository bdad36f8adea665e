# `make demo` and `make test` need nothing but Python 3.10 to 3.13 (with its venv module) and make; tests also need the ffmpeg program.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TREE := build/types

.PHONY: demo install check test fuzz kill-test writers-test lint wheel pythons installers format docs web-pictures damage-pictures samples constraints clean

demo: $(INSTALLED)
	mkdir -p out
	$(BIN)/iconface-video run samples/tape.mp4 -o out/demo.mp4 --reference samples/photo.jpg --force

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# What CI runs, in an environment that is there already.
check: lint test wheel

# Two processes; the browser's tests by themselves, or Chromium and the server would wait for the others' networks.
test: demo
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/web
	$(BIN)/python -m pytest tests/web

kill-test: $(INSTALLED)
	ICONFACE_KILLS=20 $(BIN)/python -m pytest -s tests/session/test_killed.py

writers-test: $(INSTALLED)
	ICONFACE_WRITERS=20 $(BIN)/python -m pytest -s tests/session/test_writers.py

fuzz: $(INSTALLED)
	ICONFACE_FUZZ=600 $(BIN)/python -m pytest -s tests/fuzz

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Containerfile
	@# mypy sees the package as it is installed: pipelines/ and configs/ inside iconface_video/.
	rm -rf $(TREE) && mkdir -p $(TREE)/iconface_video
	ln -s $(CURDIR)/iconface_video/* $(CURDIR)/pipelines $(CURDIR)/configs $(TREE)/iconface_video/
	cd $(TREE) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p iconface_video

wheel: $(INSTALLED)
	.ci/wheel

pythons: $(INSTALLED)
	.ci/pythons

# The wheel through pipx and uvx: all dependencies anew, twice.
installers: $(INSTALLED)
	.ci/installers

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(BIN)/python docs/make_commands.py

web-pictures: $(INSTALLED)
	$(BIN)/python docs/make_web_pictures.py

damage-pictures: $(INSTALLED)
	$(BIN)/python docs/make_damage_pictures.py

samples: $(INSTALLED)
	$(BIN)/python samples/make_samples.py

constraints: $(INSTALLED)
	{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v -i -E '^(pip|setuptools|wheel)==' \
	  | sed -E "s/\+[a-z0-9.]+$$//; s/$$/ ; python_version >= '3.11'/" | sort -f; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build dist out *.egg-info
