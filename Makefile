# Thin on purpose: each target is one documented command, so the course also works without make.
#   python3 -m rs_course.cli setup            create .venv with the pinned environment (needs only Python)
#   .venv/bin/rs-course run --profile fast    execute all notebooks into build/, index in build/index.html
#   .venv/bin/jupyter lab                     open the course
# On Windows the programs lie in .venv\Scripts instead of .venv/bin.

PYTHON ?= python3
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)

.PHONY: course lab setup setup-book setup-test book slides release-files bench grade-demo
.PHONY: test test-style test-notebooks test-code test-nbgrader test-book test-newest rehearsal

course: setup
	$(BIN)/rs-course run --profile fast

lab: setup
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/$(firstword $(sort $(wildcard notebooks/[0-9]*.ipynb)))

setup:
	$(PYTHON) -m rs_course.cli setup

# Students need neither Sphinx and its kin nor what tests use.
setup-book:
	$(PYTHON) -m rs_course.cli setup --with book

setup-test:
	$(PYTHON) -m rs_course.cli setup --with test

# Both show what `make course` executed.
book: setup-book
	$(BIN)/rs-course book

slides: setup-book
	$(BIN)/rs-course slides

release-files: book slides
	$(BIN)/rs-course release-files

# One thread per process, because two processes share the cores; tests/conftest.py says in which order. nbval runs each notebook and compares every text
# output with the stored one; it leaves image bytes aside (its default), because fonts and rendering differ between
# machines. `make -k test` goes on after a failing part and still ends with a failure.
test: test-style test-notebooks test-code test-book test-nbgrader

test-style: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 .   # text files name their encoding: Windows has another default
	$(BIN)/ruff format --check .

test-notebooks test-code test-book test-nbgrader: export OMP_NUM_THREADS = 1
test-notebooks test-code test-book test-nbgrader: export MKL_NUM_THREADS = 1

test-notebooks: setup-test
	$(BIN)/rs-course run --profile fast --jobs 2

test-code: setup-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 --nbval --nbval-current-env \
	  --ignore tests/book --ignore tests/checkpoints/test_export.py tests notebooks

test-book: setup-book setup-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=8 tests/book tests/checkpoints/test_export.py

# Last, because nbgrader changes JupyterLab; where it cannot be installed, these tests are skipped and say so.
test-nbgrader: setup-test
	-$(PYTHON) -m rs_course.cli setup --with nbgrader
	$(BIN)/python -m pytest -rs tests/grading/test_formgrader.py

# Each notebook in the profile full, with small checkpoints in the published layouts; up to half an hour.
rehearsal: setup-test
	$(BIN)/python -m pytest -m rehearsal tests/test_full_profile.py

# What can be measured with nothing but the course; the other files in benchmarks/ say what they need.
bench: setup
	$(BIN)/python benchmarks/datasets.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/superres.py

# Two students, one with every answer and one with none, graded as a class would be (Linux with bubblewrap).
grade-demo: setup
	$(BIN)/rs-course release --release build/demo/release --solution build/demo/solution
	mkdir -p build/demo/submissions
	cp build/demo/solution/a3_super_resolution/*.ipynb build/demo/submissions/ada.ipynb
	cp build/demo/release/a3_super_resolution/*.ipynb build/demo/submissions/ben.ipynb
	$(BIN)/rs-course grade build/demo/submissions --assignment a3_super_resolution --out build/demo/grades

# Once a week in the workflows: a fresh environment with the newest versions of everything.
test-newest:
	bash .ci/newest
