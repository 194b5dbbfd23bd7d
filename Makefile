# Two commands on a fresh machine with Python >= 3.11:  make demo   and   make test
PYTHON ?= python3
BIN := .venv/bin
# Two processes, one thread each: much of the time goes to programs that start. The tests of a file stay together.
IN_TWO := --numprocesses 2 --dist loadfile

.PHONY: demo test check bench long oldest docs clean

demo: .venv/ready
	$(BIN)/emres demo --to demo

test: .venv/ready check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_TWO)

check: .venv/ready
	$(BIN)/ruff check emres tests benchmarks workflows
	$(BIN)/ruff format --check emres tests benchmarks workflows
	$(BIN)/mypy
	$(BIN)/lint-imports

long: .venv/ready
	$(BIN)/python -m pytest -m "long or not long"

bench: .venv/ready
	$(BIN)/python -m benchmarks

# The oldest of every dependency, in an environment of its own (tests/oldest.py says why torch is not among them).
OLDEST_TORCH ?= --constraint constraints.txt
OLDEST_TESTS ?= tests/test_oldest.py tests/volume tests/archive/test_store.py tests/archive/test_writer.py \
	tests/archive/test_mrc.py tests/archive/test_cube_file.py tests/archive/test_embedded.py tests/model/test_bundle.py \
	tests/model/test_inference.py tests/estimators/test_one_map.py tests/simulate/test_halfmaps.py \
	tests/run/test_lazy.py tests/run/test_predict.py tests/run/test_cluster.py tests/run/test_cubes.py \
	tests/run/test_batch_table.py tests/view/test_accessor.py tests/view/test_surface.py tests/cli/test_commands.py

oldest: .venv-oldest/ready
	EMRES_OLDEST=1 OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -p no:cacheprovider $(IN_TWO) $(OLDEST_TESTS)

.venv-oldest/ready: pyproject.toml constraints.txt constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt $(OLDEST_TORCH) \
		--editable ".[hdf5,slurm,table]" pytest pytest-timeout pytest-xdist hypothesis ome-zarr-models periodictable
	touch $@

# The site, in build/site: a warning is an error.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Editable, so that one set-up serves until the dependencies change.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf .venv .venv-oldest demo build dist *.egg-info
