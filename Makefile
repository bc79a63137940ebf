# Every command of this project; `make` alone lists them. PYTHON names another interpreter to start from.
PYTHON ?= python3
STACK ?= dev
# One process per core; a file's tests stay together, as they share its sandboxes. The files keep their order: the
# many quick tests come last, so that no process waits for another one's last sandbox.
SIDE_BY_SIDE := -n auto --dist loadscope --no-loadscope-reorder
TESTS ?= tests $(SIDE_BY_SIDE)

VENV := .venv/bin/python
SANDBOX := $(VENV) -m sandbox
BOOTSTRAP := $(PYTHON) -m sandbox.toolchain.bootstrap
COMPILE := $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help up preview comment refresh destroy measure bench url key report why validate mend takeover down shell test test-unit test-rehearsal lint format docs lock clean ready packages

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  STACK=dev chooses the stack of up, preview, refresh, destroy and shell; OPTIONS='--latency 0.1' passes options"
	@echo '  on to the sandbox: time as GKE takes it, scaled; --charts upstream; python -m sandbox up --help lists them.'
	@echo '  ALLOW=name lets up and preview delete or replace what the guard would keep; docs/policies.md.'

up: ready ## bring the stack up in the sandbox, starting the sandbox if need be
	@echo "Bringing up stack $(STACK) in its sandbox."
	@$(SANDBOX) up --stack $(STACK) --allow "$(ALLOW)" $(OPTIONS)

preview: ready ## show what `make up` would change
	@echo "Previewing stack $(STACK) in its sandbox."
	@$(SANDBOX) preview --stack $(STACK) --allow "$(ALLOW)" $(OPTIONS)

comment: packages ## the last `make preview` as the comment that a pull request gets
	@$(VENV) -m tools.review comment .sandbox/$(STACK)/events/llm-gateway/$(STACK)-preview.jsonl --stack $(STACK) \
		--diff .sandbox/$(STACK)/events/llm-gateway/$(STACK)-preview.diff

refresh: ready ## compare the stack's state with what runs in the sandbox
	@echo "Refreshing stack $(STACK) in its sandbox."
	@$(SANDBOX) refresh --stack $(STACK) $(OPTIONS)

destroy: ready ## delete the stack's resources in the sandbox
	@echo "Destroying stack $(STACK) in its sandbox."
	@$(SANDBOX) destroy --stack $(STACK) $(OPTIONS)

measure: ready ## time the first and second up, and a preview against an empty program's
	@echo "Measuring, on what should be a quiet machine."
	@$(VENV) -m tests.support.measure

bench: ready ## load on the gateway and its upstream, what settings cost, tenants by the hundred; OPTIONS="gateway" one part
	@echo "Measuring the gateway, on what should be a quiet machine."
	@$(VENV) -m tests.bench $(OPTIONS)

url: packages ## print the gateway's URL on this machine, and nothing else
	@$(SANDBOX) url --stack $(STACK)

key: packages ## print the value of the virtual key NAME, and nothing else
	@$(SANDBOX) key --stack $(STACK) $(NAME)

report: packages ## write the page about the last `make up` anew: graph, timeline, outputs, versions
	@echo "Writing the report of the last up of stack $(STACK)."
	@$(SANDBOX) report --stack $(STACK) $(OPTIONS)

why: $(if $(EVENTS),packages,ready) ## why the last `make up` failed, and what to do; EVENTS= the event log of another up, on any cluster
	@echo "Looking at why the last up of stack $(STACK) failed."
	@$(if $(EVENTS),$(VENV) -m tools.explain --events "$(EVENTS)" $(OPTIONS),$(SANDBOX) exec --stack $(STACK) -- \
		$(CURDIR)/$(VENV) -m tools.explain --events $(CURDIR)/.sandbox/$(STACK)/events/llm-gateway/$(STACK)-up.jsonl)

validate: packages ## check an installation: keys, budgets, limits, spend; URL= where it answers; docs/validate.md
	@echo "Validating the installation of stack $(STACK)."
	@$(if $(URL),,if [ -e .sandbox/$(STACK)/pods.ready ]; then exec $(SANDBOX) validate --stack $(STACK) -- $(OPTIONS); fi;) \
		$(VENV) -m tools.validate --stack $(STACK) --url "$(URL)" $(OPTIONS)

mend: ready ## after an `up` was killed: import what Google has and the state of the sandbox's stack does not
	@echo "Mending the state of stack $(STACK) in its sandbox."
	@$(SANDBOX) exec --stack $(STACK) -- $(CURDIR)/$(VENV) -m tools.mend --stack $(STACK)

takeover: ready ## before an `up` over what Argo CD installed: give the charts' objects to the stack's Releases; OPTIONS=--finish after it
	@echo "Marking what the cluster of stack $(STACK) has of its charts."
	@$(SANDBOX) exec --stack $(STACK) -- $(CURDIR)/$(VENV) -m tools.takeover --stack $(STACK) $(OPTIONS)

down: ## stop this clone's sandboxes
	@echo "Stopping this clone's sandboxes."
	@if [ -d .sandbox ]; then $(BOOTSTRAP) --packages-only && $(SANDBOX) down; fi

shell: ready ## a shell with pulumi, kubectl and the sandbox's kubeconfig
	@echo "Opening a shell in the sandbox of stack $(STACK); exit leaves it."
	@$(SANDBOX) shell --stack $(STACK) $(OPTIONS)

test: ready ## run every test, those with a real `pulumi up` too; TESTS="tests/unit/test_docs.py -k links" runs these
	@echo "Running $(TESTS)."
	@$(VENV) -m pytest $(TESTS)

test-unit: packages ## run the tests that start no sandbox: a minute or two
	@echo "Running the tests that start no sandbox."
	@$(VENV) -m pytest tests/unit tests/sandbox_parts $(SIDE_BY_SIDE)

test-rehearsal: ready ## run the tests with a real `pulumi up`: minutes
	@echo "Running the tests with a real up."
	@$(VENV) -m pytest tests/rehearsal $(SIDE_BY_SIDE)

lint: packages ## check style, formatting, imports, types and the workflows
	@echo "Checking style, formatting, imports, types and the workflows."
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache --no-logo
	@.venv/bin/basedpyright
	@$(VENV) -m sandbox.toolchain.actionlint

format: packages ## put the code into its format
	@echo "Formatting."
	@$(VENV) -m ruff check --fix .
	@$(VENV) -m ruff format .

docs: packages ## write stack.schema.json, docs/settings.md, docs/outputs.md and docs/graph.svg anew from the code
	@echo "Writing what is made from the code."
	@$(VENV) -m settings.generate
	@$(VENV) -m tests.support.graph_page

lock: packages ## pin the packages that pyproject.toml asks for, with hashes
	@echo "Locking requirements.txt, requirements-dev.txt, requirements-release.txt and those of sandbox/containers."
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(COMPILE) --group release --output-file requirements-release.txt
	@$(COMPILE) sandbox/containers/litellm.in --output-file sandbox/containers/litellm.txt
	@$(COMPILE) --no-deps sandbox/containers/programs.in --output-file sandbox/containers/programs.txt
	@cd sandbox/containers/prisma && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

clean: down ## remove what was made in this clone; the toolchain, which clones share, stays
	@echo "Removing the virtual environment, the sandboxes and caches."
	@rm -rf .venv .sandbox .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready:
	@$(BOOTSTRAP)

packages:
	@$(BOOTSTRAP) --packages-only
