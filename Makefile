# Each target does its own set-up; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
# Three on two cores: many of the tests wait. Files in the order of tests/conftest.py, the longest first.
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help train test test-faults test-scale test-matrix test-hydra14 test-oldest lint format docs clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

train: .venv/demo  ## Set up with the demo extra and run the embedded default
	$(BIN)/python train.py

test: .venv/dev  ## Set up with the dev extra and run the tests
	$(BIN)/python -m pytest -m "not campaign and not scale" $(SIDE_BY_SIDE)

test-faults: .venv/dev  ## The campaign: kill at every named point 5 times, faults of machines, the matrix, every parameter
	FAULT_ROUNDS=5 $(BIN)/python -m pytest --real-starts -m "campaign and not scale" $(SIDE_BY_SIDE)

# As root it installs the SLURM and the MariaDB that the tests run; what is missing is skipped, and said.
test-scale: .venv/scale  ## Sweeps of workers that a SLURM, submitit and Ray place; a study in MariaDB
	@test "$$(id -u)" != 0 || (command -v slurmctld && command -v mariadbd) >/dev/null || (apt-get update -qq && \
		apt-get install -qq -y --no-install-recommends slurm-wlm munge mariadb-server >/dev/null) || \
		echo "no SLURM or no MariaDB: their tests are skipped"
	$(BIN)/python -m pytest -m scale -rs

test-matrix: .venv/dev  ## Try every method on every family of encoders and compare with the capability table
	$(BIN)/python tests/matrix/generate.py --check

test-hydra14: .venv-hydra14/dev  ## Run the config and sweep tests on Hydra 1.4, in an environment of its own
	.venv-hydra14/bin/python -m pytest -n 2 --dist loadfile tests/config tests/sweeps tests/commands/test_confirm.py \
		tests/e2e/test_sweep*.py

test-oldest: .venv-oldest/dev  ## Run a telling part of the tests on the oldest versions that pyproject.toml allows
	.venv-oldest/bin/python -m pytest -W default -n 2 --dist loadfile -k "not onnx" $(OLDEST_TESTS)

lint: .venv/dev  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/dev  ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/docs  ## Build the documents as a site in build/site; a dead link is an error
	rm -rf build/docs && mkdir -p build/docs/benchmarks
	cp -R README.md CHANGELOG.md CONTRIBUTING.md LICENSE docs build/docs
	cp benchmarks/README.md build/docs/benchmarks
	$(BIN)/mkdocs build --strict

clean:  ## Remove the environment and what tools cached; outputs/ stays
	rm -rf .venv .venv-hydra14 .venv-oldest .pytest_cache .ruff_cache .hypothesis build dist

# The stamps make set-up run again only when the requirements changed. dev includes demo.
.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	@test .venv/dev -nt pyproject.toml -a .venv/dev -nt constraints.txt || $(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[demo,dev]'
	@touch $@

.venv/docs: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -c constraints.txt 'mkdocs-material>=9.6,<10'
	@touch $@

.venv/scale: .venv/dev
	$(BIN)/pip install -q -c constraints.txt -e '.[scale]'
	@touch $@

HYDRA14 := hydra-core==1.4.0rc3 omegaconf==2.4.1rc1 hydra-joblib-launcher==1.4.0rc3
.venv-hydra14/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-hydra14
	grep -vE '^(hydra|omegaconf|antlr)' constraints.txt > .venv-hydra14/constraints.txt
	.venv-hydra14/bin/pip install -q -c .venv-hydra14/constraints.txt -e '.[demo,dev]' $(HYDRA14)
	@touch $@

# Each declared minimum itself, and the newest of what isn't declared. What old versions warn of is no error here.
# The onnx extra is left out, which asks for a newer torch.
OLDEST_TESTS := tests/test_library_insides.py \
	tests/config/test_conf.py::test_every_choice_composes_and_checks \
	tests/models/test_unpadded.py::test_any_batch_has_the_same_logits_and_gradients \
	tests/runs/test_runner.py::test_the_run_folder_is_complete \
	tests/runs/test_probing.py::test_the_test_split_waits_until_the_run_reads_it \
	tests/training/test_trainers.py::test_both_trainers_are_the_same \
	tests/commands/test_predict.py::test_they_equal_what_the_run_itself_predicted \
	tests/commands/test_export.py::test_it_answers_as_the_run_does \
	tests/e2e/test_sweeps.py::test_a_sweep_searches_resumes_and_its_best_can_be_run_and_reproduced
.venv-oldest/dev: pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	grep -v '^onnx = ' pyproject.toml | grep -oE '[a-z0-9-]+>=[0-9.]+' | sed 's/>=/==/' > .venv-oldest/constraints.txt
	PIP_CONSTRAINT= .venv-oldest/bin/pip install -q -c .venv-oldest/constraints.txt \
		-e '.[demo,dashboard,mlflow,tensorboard,trackio]' cmaes hydra-joblib-launcher hypothesis pytest pytest-xdist
	@touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
