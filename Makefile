# Thin on purpose: each target is one documented command, so the course also works without make.
#   python3 -m rs_course.cli setup            create .venv with the pinned environment (needs only Python)
#   .venv/bin/rs-course run --profile fast    execute all notebooks into build/, index in build/index.html
#   .venv/bin/jupyter lab                     open the course
# On Windows the programs lie in .venv\Scripts instead of .venv/bin.

PYTHON ?= python3
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)

.PHONY: course lab setup test test-style test-notebooks test-code bench

course: setup
	$(BIN)/rs-course run --profile fast

lab: setup
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_orientation.ipynb

setup:
	$(PYTHON) -m rs_course.cli setup

# One thread per process, because two processes share the cores. nbval runs each notebook and compares every text
# output with the stored one; it leaves image bytes aside (its default), because fonts and rendering differ between
# machines. `make -k test` goes on after a failing part and still ends with a failure.
test: test-style test-notebooks test-code

test-style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test-notebooks: setup
	$(BIN)/rs-course run --profile fast

test-code: export OMP_NUM_THREADS = 1
test-code: export MKL_NUM_THREADS = 1
test-code: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15 --nbval --nbval-current-env tests notebooks

bench: setup
	for benchmark in benchmarks/*.py; do $(BIN)/python "$$benchmark" || exit 1; done
