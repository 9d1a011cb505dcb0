# `make` prints the verbs. Every verb is what CI runs.
.DEFAULT_GOAL := help
.PHONY: help run serve test lint notebook bench lock compile diff-ir images push-images upload infra cluster cluster-test clean
# Keep bytecode, or every import of a heavy library compiles it anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
PERENNIAL := .venv/bin/perennial
# What the compiled pipelines are compared with.
BASE ?= origin/main
# Where images and pipelines go: a target's name or file, and a registry that differs from the one it names.
TARGET ?= kfp
IN = --target $(TARGET) $(if $(REGISTRY),--set images.registry=$(REGISTRY))

help:      ## Show the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12
run: $(PERENNIAL)       ## Run the training pipeline on the shipped example, serve the model, ask it one question
	$(PERENNIAL) run --simulate --ask
serve: $(PERENNIAL)     ## Keep an endpoint running for the shipped example
	$(PERENNIAL) serve
notebook: $(PERENNIAL)  ## Open the notebook that submits, compares and asks
	.venv/bin/python -m pipelines.command.notebook
test: $(PERENNIAL)      ## Everything CI requires; no Docker, no network once set up
	.venv/bin/python -m tests
lint: $(PERENNIAL)      ## Style and types
	.venv/bin/ruff check . && .venv/bin/mypy components pipelines serving
bench: $(PERENNIAL)     ## Measure, as ratios side by side
	.venv/bin/python -m pipelines.bench
lock: $(PERENNIAL)      ## Re-lock every step (or one: make lock STEP=training)
	$(PERENNIAL) lock $(STEP)
compile: $(PERENNIAL)   ## Rewrite the golden pipelines and component.yaml of every step
	$(PERENNIAL) compile --golden
diff-ir: $(PERENNIAL)   ## Say in Markdown what changed in the compiled pipelines (make diff-ir BASE=HEAD^1 OUT=ir.md)
	@$(PERENNIAL) diff $(BASE) $(if $(OUT),--out $(OUT))
images: $(PERENNIAL)    ## Build the images of a target that are missing (make images TARGET=production)
	$(PERENNIAL) images build $(IN)
push-images: $(PERENNIAL)  ## Push them to the target's registry and lock the digests that it answers with
	$(PERENNIAL) images push $(IN) && $(PERENNIAL) images lock $(IN)
upload: $(PERENNIAL)    ## Upload the compiled pipeline to a target, named by its git revision
	$(PERENNIAL) upload $(IN) $(if $(REVISION),--revision $(REVISION))
infra: $(PERENNIAL)     ## Rewrite infra/rendered, what the overlays of infra/ come to
	$(PERENNIAL) manifests --golden
cluster: $(PERENNIAL)   ## Make a cluster on this machine with kind and all that Perennial needs (docs/cluster.md)
	infra/cluster/cluster.sh
cluster-test: $(PERENNIAL)  ## Run the example end to end on the cluster of KUBECONFIG, KFP_HOST and GATEWAY_URL
	.venv/bin/python -m pytest tests/end_to_end/test_cluster.py
clean:     ## Remove the virtualenv of this checkout (the user's cache stays)
	rm -rf .venv

$(PERENNIAL): requirements.txt setup.cfg infra/uv.txt infra/setup.sh
	@PYTHON=$(PYTHON) sh infra/setup.sh
