# `make` prints the verbs. Every verb is what CI runs.
.DEFAULT_GOAL := help
.PHONY: help run demo serve test lint format notebook bench bench-models lock compile diff-ir images push-images upload infra cluster cluster-api cluster-test audit docs changelog clean
# Keep bytecode; without it every process compiles its heavy libraries again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
PERENNIAL := .venv/bin/perennial
# The tools of tests and checks, which a user who only runs pipelines does without.
CHECKS := .venv/.checks
# What the compiled pipelines are compared with.
BASE ?= origin/main
# Where images and pipelines go: the name or file of a target, and a registry that overrides the target's own.
TARGET ?= kfp
IN = --target $(TARGET) $(if $(REGISTRY),--set images.registry=$(REGISTRY))

help:      ## Show the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 14
run: $(PERENNIAL)       ## Run the training pipeline on the shipped example, serve the model, send it one request
	$(PERENNIAL) run --simulate --ask
demo: $(PERENNIAL)      ## Play six months with a change of the world, late labels, monitoring and the loop (docs/replay.md)
	$(PERENNIAL) replay --scenario sudden
serve: $(PERENNIAL)     ## Keep an endpoint running for the shipped example
	$(PERENNIAL) serve
notebook: $(PERENNIAL)  ## Open the notebook that submits runs, compares them and queries the endpoint
	.venv/bin/python -m pipelines.command.notebook
test: $(CHECKS)      ## Everything that CI requires, or some test groups (make test GROUP=gate); no Docker, no network once set up
	.venv/bin/python -m tests $(GROUP)
lint: $(CHECKS)      ## Check style and types
	.venv/bin/python -m tests lint
format: $(CHECKS)    ## Format the code, and fix what ruff can fix
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
bench: $(CHECKS)     ## Measure against alternatives, as ratios (or one part: make bench PART=serving)
	.venv/bin/python -m pipelines.bench $(PART)
bench-models: $(CHECKS)  ## Compare with boosting libraries on a folder of CSV files (make bench-models TABLES=folder)
	.venv/bin/python -m pipelines.bench.models $(TABLES) $(SPLITS)
lock: $(PERENNIAL)      ## Re-lock every step (or one: make lock STEP=training)
	$(PERENNIAL) lock $(STEP)
compile: $(PERENNIAL)   ## Rewrite the compiled pipelines and the component.yaml of every step
	$(PERENNIAL) compile --golden
diff-ir: $(PERENNIAL)   ## Describe in Markdown what changed in the compiled pipelines (make diff-ir BASE=HEAD^1 OUT=ir.md)
	@$(PERENNIAL) diff $(BASE) $(if $(OUT),--out $(OUT))
images: $(PERENNIAL)    ## Build the images that a target lacks (make images TARGET=production)
	$(PERENNIAL) images build $(IN)
push-images: $(PERENNIAL)  ## Push the images to the target's registry, and lock the digests that it returns
	$(PERENNIAL) images push $(IN) && $(PERENNIAL) images lock $(IN)
upload: $(PERENNIAL)    ## Upload the compiled pipeline to a target, named by its git revision
	$(PERENNIAL) upload $(IN) $(if $(REVISION),--revision $(REVISION))
infra: $(PERENNIAL)     ## Rewrite infra/rendered, the rendered overlays of infra/
	$(PERENNIAL) manifests --golden
cluster: $(PERENNIAL)   ## Create a kind cluster on this machine with all that Perennial needs (docs/cluster.md)
	TARGET=$(TARGET) infra/cluster/cluster.sh
cluster-api: $(PERENNIAL) ## Create a kind cluster with KServe's definitions only, on which "make test" tests releases
	infra/cluster/cluster.sh --api-only
cluster-test: $(CHECKS)  ## Run the example end to end on the cluster of KUBECONFIG, KFP_HOST and GATEWAY_URL
	@missing=; for name in KUBECONFIG KFP_HOST GATEWAY_URL; do printenv $$name >/dev/null || missing="$$missing $$name"; done; \
	[ -z "$$missing" ] || { echo "make cluster-test needs the variables$$missing; docs/cluster.md says what they name." >&2; exit 2; }
	.venv/bin/python -m pytest tests/end_to_end/test_cluster.py
audit: $(PERENNIAL)     ## Look for known vulnerabilities in every lock (asks the OSV database)
	.venv/bin/python -m pipelines.images.vulnerabilities
docs: $(PERENNIAL)      ## Build the manual as a site that opens offline (.manual/index.html)
	.venv/bin/python -m pipelines.manual
changelog: $(PERENNIAL) ## Move the files of changelog.d/ into CHANGELOG.md, for a release
	.venv/bin/uv tool run --from towncrier==25.8.0 towncrier build --yes
clean:     ## Remove the virtualenv of this checkout, but not the user's cache
	rm -rf .venv

$(PERENNIAL): requirements.txt setup.cfg pipelines/__init__.py infra/uv.txt infra/setup.sh
	@PYTHON=$(PYTHON) sh infra/setup.sh
$(CHECKS): $(PERENNIAL) requirements-checks.txt
	@echo "installing the tools of tests and checks into .venv"
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes --requirement requirements-checks.txt
	@touch $@
