# Short names for the commands of course.py. On Windows, or without make: python course.py ...
PYTHON ?= python3
TOOL = .venv/bin/python -m

.PHONY: help lab test build check lint format types browser slow bench mutants instructor clean

help:
	@$(PYTHON) course.py help
	@echo "With make: lab, test, build, check, clean as above; after the first run also"
	@echo "lint, format, types, browser, slow, instructor, bench, mutants."

lab test build clean:
	@$(PYTHON) course.py $@

check:
	@$(PYTHON) course.py build --check

lint:
	$(TOOL) ruff check .
	$(TOOL) ruff format --check .

format:
	$(TOOL) ruff check --fix .
	$(TOOL) ruff format .

types:
	$(TOOL) mypy

# Every lesson in JupyterLab in a Chromium; part of `make test` too.
browser:
	$(TOOL) pytest -n0 -rs --durations=0 tests/browser

# Which tests `course.py test --fast` leaves out, measured in a whole run of them.
slow:
	$(TOOL) pytest -n auto --dist loadfile tests --measure-slow

instructor:
	$(TOOL) tools.instructor

# All races, or those that ONLY names: make bench ONLY=conv-pool-64-8tasks. PEERS are installed to
# race too: make bench PEERS="iteryne parallel-metalearn jax". The environment has no pip yet.
bench:
	$(TOOL) ensurepip
	PIP_USER=0 $(TOOL) pip install --quiet --constraint constraints.txt --editable ".[bench]" $(PEERS)
	$(TOOL) pytest benchmarks --benchmark-json=.cache/benchmarks.json $(if $(ONLY),-k "$(ONLY)")

# Does a test notice each small change of the code? docs/mutants.md. All files that pyproject.toml
# names, which takes hours, or some: make mutants ONLY="metalearn_edu.learners.meta_sgd*"
mutants:
	$(TOOL) ensurepip
	PIP_USER=0 $(TOOL) pip install --quiet --constraint constraints.txt mutmut==3.8.1
	OMP_NUM_THREADS=1 $(TOOL) mutmut run $(if $(ONLY),"$(ONLY)")
	$(TOOL) mutmut results
