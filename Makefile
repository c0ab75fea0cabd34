PYTHON ?= python3
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test lint bench clean
demo: .venv/ready
	$(BIN)/distill run quickstart
	$(BIN)/distill leaderboard quickstart

test: .venv/ready lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

bench: .venv/ready
	$(BIN)/python tests/bench/bench_attempts.py
	$(BIN)/python tests/bench/bench_sampling.py
	$(BIN)/python tests/bench/bench_verify.py
	$(BIN)/python tests/bench/bench_quality.py
	$(BIN)/python tests/bench/bench_decontaminate.py
	$(BIN)/python tests/bench/bench_duplicates.py
	$(BIN)/python tests/bench/bench_curate.py --gb 0.2
	$(BIN)/python tests/bench/bench_signals.py
	$(BIN)/python tests/bench/bench_sft.py --size small
	$(BIN)/python tests/bench/bench_distil.py
	$(BIN)/python tests/bench/bench_harness.py
	$(BIN)/python tests/bench/bench_gate.py

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs
