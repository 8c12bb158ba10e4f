# What people run. `make help` lists it.
PYTHON ?= python3
PORT ?= 8080
SEEDS ?= 1000
# What `make test` runs: all, or every layer's tests of one capability.
TESTS = $(if $(CAP),$(wildcard tests/*/$(CAP)),tests local_cloud)
BIN := .venv/bin
# A child make or tool must not pick another environment than the one built here, nor compile every module again.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check run bench bundle bundle-test conformance simulate terraform-test terraform-mutations lock migrate verify-ledger verify-trades verify-archive rewrap-keys rebuild-documents grading-model docs clean format lint types sbom audit smoke release-hold canary cost cost-check

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/ready  ## play one day of the platform through the whole system, on this machine
	@$(BIN)/python -m tools.demo

test: .venv/ready  ## every test that needs nothing but Python and PyPI; CAP=trade_events runs those of one capability
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not emulator" --ignore tests/delivery --ignore tests/terraform $(TESTS)

check: .venv/ready  ## lint, format, types and contracts, in under a minute
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/basedpyright --level error
	@$(BIN)/python -m pytest -q -n 2 tests/contract

run: .venv/ready  ## serve the whole system on PORT (default 8080) until Ctrl-C, data kept in .local/
	@exec $(BIN)/python -m local_cloud --port $(PORT)

conformance: .venv/ready  ## the stand-ins for Google's services, and Google's own emulators, through the official clients
	@$(BIN)/python -m pytest -q local_cloud/conformance

bench: .venv/bench  ## measure against named peers, write build/bench.json
	@.venv-bench/bin/python -m tools.bench

bundle: .venv/ready  ## one deterministic zip per capability, named by its content, in build/bundles
	@$(BIN)/python -m tools.bundle

bundle-test: .venv/delivery  ## install each bundle on its own, start it as the buildpack would, call it, time it
	@$(BIN)/python -m pytest -q -s tests/delivery

migrate: .venv/ready  ## apply the SQL migrations to DATABASE_URL
	@$(BIN)/python -m tools.migrate

verify-ledger: .venv/ready  ## recompute every consent chain and receipt in DATABASE_URL
	@$(BIN)/python -m tools.verify_ledger

verify-trades: .venv/ready  ## fold every trade in DATABASE_URL again from its events
	@$(BIN)/python -m tools.verify_trades

verify-archive: .venv/ready  ## verify ARCHIVE, a partner's export, by KEY, the public key of receipts in PEM
	@$(BIN)/python -m tools.verify_archive "$(ARCHIVE)" $(if $(KEY),--key "$(KEY)")

rewrap-keys: .venv/ready  ## wrap the epoch keys in DATABASE_URL under the current version of KMS_KEY; EPOCH=2026-11 moves partners' keys
	@$(BIN)/python -m tools.rewrap_keys $(if $(EPOCH),--epoch $(EPOCH))

rebuild-documents: .venv/ready  ## build the documents of the live feed in PROJECT anew from DATABASE_URL
	@$(BIN)/python -m tools.rebuild_documents

grading-model: .venv/ready  ## author the grading model's graph; the same bytes on each build
	@$(BIN)/python -m tools.grading_model

docs: .venv/ready  ## regenerate docs/api, the event schemas and the data map of docs/privacy.md from the code
	@$(BIN)/python -m tools.docs && $(BIN)/python -m tools.privacy_docs

format: .venv/ready  ## sort imports and format
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

simulate: .venv/ready  ## SEEDS seeded days under faults, every rule checked (docs/reliability.md)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

terraform-test: .venv/ready .venv-terraform/ready  ## apply the Terraform configuration offline, and test what is applied
	@$(BIN)/python -m tools.terraform prove

terraform-mutations: .venv/ready .venv-terraform/ready  ## break the configuration in thirty ways; needs terraform-test first
	@$(BIN)/python -m tools.terraform mutate

lint: .venv/ready  ## what ruff says of the code and its format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/ready  ## what basedpyright says of the types
	@$(BIN)/basedpyright --level error

sbom: .venv/delivery  ## a CycloneDX document of each bundle's dependencies, in build/sbom
	@$(BIN)/python -m tools.deliver.sbom

audit: .venv/delivery  ## what is known against the locked dependencies; needs PyPI's advisories
	@$(BIN)/python -m tools.deliver.audit

smoke: .venv/ready  ## whether the system at TARGET, a URL or dev or prod, answers from outside
	@$(BIN)/python -m tools.deliver.smoke "$(TARGET)"

release-hold: .venv/ready  ## before an apply: keep PROJECT's calls with the revisions that serve them
	@$(BIN)/python -m tools.deliver.release hold "$(PROJECT)"

canary: .venv/ready  ## after an apply: move PROJECT's calls to the new revisions, and back if they do worse or TARGET does not answer
	@$(BIN)/python -m tools.deliver.release canary "$(PROJECT)" "$(TARGET)"

cost: .venv/ready  ## what a month costs, into docs/operations/cost.md
	@$(BIN)/python -m tools.cost

cost-check: .venv/ready  ## fail where a month became dearer than was accepted
	@$(BIN)/python -m tools.cost --check

lock: .venv/uv  ## lock the dependency groups of pyproject.toml, with hashes, in one resolution
	@$(BIN)/python -m tools.lock

clean:  ## forget what `make run` kept and what was built
	@rm -rf .local build .pytest_cache .ruff_cache

# The environment: a pinned uv (by hash) installs the locked requirements (by hash).
.venv/uv: requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Kapas needs Python 3.11 or later: run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "This Python cannot make a virtual environment with pip: install its venv package (Debian: apt install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@touch $@

.venv/ready: .venv/uv requirements-dev.txt
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements-dev.txt requirements-uv.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "kapas.pth").write_text("\n".join(str(p) for p in (pathlib.Path.cwd() / "shared", pathlib.Path.cwd())) + "\n")'
	@touch $@

.venv/delivery: .venv/ready requirements-delivery.txt
	@$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-delivery
	@$(BIN)/uv pip sync -q --python .venv-delivery/bin/python --require-hashes requirements-delivery.txt
	@touch $@

.venv/bench: .venv/ready requirements-bench.txt
	@$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-bench
	@$(BIN)/uv pip sync -q --python .venv-bench/bin/python --require-hashes requirements-bench.txt
	@cp "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kapas.pth" "$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/"
	@touch $@

.venv-terraform/ready: .venv/uv requirements-terraform.txt
	@$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-terraform
	@$(BIN)/uv pip sync -q --python .venv-terraform/bin/python --require-hashes requirements-terraform.txt
	@touch $@
