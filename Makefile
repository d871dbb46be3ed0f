# `make help` lists what there is; nothing else has to be known to work on this repository.

CARGO ?= cargo
# More arguments: `make test ARGS=lifecycle`, `make test ARGS='-- --nocapture'`, `make demo ARGS=--keep`.
ARGS ?=
# Tests against the API server wait more than they compute, so many run at one time.
THREADS ?= 16
# Where `make generate` writes.
OUT ?= crds
# Where `make reference` writes.
REFERENCE ?= docs/reference
CHART := charts/vaultsecret-operator

# What make fuzz runs, for how long, and where it builds and keeps what it finds.
TARGET ?= template
SECONDS ?= 600
FUZZ ?= target/fuzz
# What cargo-fuzz asks of the compiler, as far as stable Rust has it: all but the sanitizers, which find errors that unsafe code
# makes, and there is none.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_RUN = $(FUZZ)/$(FUZZ_HOST)/release/$(TARGET)
FUZZ_ARGS := -timeout=20 -rss_limit_mb=2048 -print_final_stats=1

CRDS := vaultsecrets.yaml vaultconnections.yaml clustervaultconnections.yaml
DEVKIT := $(CARGO) run --quiet --package devkit --

.DEFAULT_GOAL := help
.PHONY: help tools demo test test-unit chart bench controlplane serve remotes fmt lint docs site generate reference check-generated deny fuzz fuzz-build fuzz-corpus clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Said before minutes are spent on building what does not need it.
tools: ## Check that Rust, a C compiler and Go are there
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: install it by rustup, https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'a C compiler is missing (cc): install gcc or clang' >&2; exit 1; }
	@command -v go >/dev/null || test -n "$$KUBEBUILDER_ASSETS" || \
	    ls "$${XDG_CACHE_HOME:-$$HOME/.cache}"/vaultsecret-devkit/controlplane-*/kube-apiserver >/dev/null 2>&1 || { \
	    echo 'Go is missing: the API server for tests and demo is built with it the first time. Install Go' \
	         "$$(awk '$$1 == "go" { print $$2 }' devkit/controlplane/go.mod) or newer, https://go.dev/dl/, or let" \
	         'KUBEBUILDER_ASSETS name a folder with etcd, kube-apiserver and kube-controller-manager' >&2; exit 1; }

demo: tools ## See the whole thing work: API server, three remotes, operator, examples, trouble and repair (ARGS=--keep)
	$(CARGO) build --bin vaultsecret
	$(DEVKIT) demo $(ARGS)

test: tools test-unit ## Run every test: the pure ones first, then those against a real API server (ARGS=... for cargo test)
	@$(DEVKIT) controlplane >/dev/null
	@$(DEVKIT) helm >/dev/null
	RUST_TEST_THREADS=$(THREADS) $(CARGO) test --workspace --no-fail-fast --test '*' $(ARGS)
	$(CARGO) test --workspace --doc $(ARGS)

test-unit: ## Run the tests that need no API server
	$(CARGO) test --workspace --no-fail-fast --lib --bins $(ARGS)

chart: ## Lint the Helm chart and render it with each file in tests/chart/values
	@helm=$$($(DEVKIT) helm) && for values in tests/chart/values/*.yaml; do \
	    echo "$$values" && "$$helm" lint --strict --quiet $(CHART) --values "$$values" && \
	    "$$helm" template release $(CHART) --namespace vaultsecret-system --values "$$values" >/dev/null || exit 1; \
	done

bench: tools ## Measure latency and cold start of the optimised operator against a real API server; prints figures
	@$(DEVKIT) controlplane >/dev/null
	$(CARGO) bench --bench latency --bench cold_start

controlplane: tools ## Print the folder with kube-apiserver, etcd and kubectl (make -s controlplane); builds them the first time
	@$(DEVKIT) controlplane

serve: tools ## Run an API server until Ctrl-C and print its kubeconfig, to try the operator by hand
	@$(DEVKIT) controlplane --serve

remotes: ## Serve stand-ins for the three remotes on loopback until Ctrl-C (ARGS='--kelvin-port 9001')
	@$(DEVKIT) remotes $(ARGS)

fmt: ## Format the code
	$(CARGO) fmt --all

lint: ## Check the format and run clippy; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs: ## Build the documentation of the code; warnings are errors
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps

site: ## Check the documentation and build it as a site in target/site (ARGS=--check: check only)
	@$(DEVKIT) site --drafts $(ARGS)

generate: ## Write crds/ from the types in src/api/, the chart's copy of it, and docs/reference/
	@mkdir -p '$(OUT)'
	@$(CARGO) run --quiet --bin vaultsecret -- crd > '$(OUT)/.all.yaml'
	@awk -v out='$(OUT)' ' \
	    function flush() { \
	        if (doc == "") return; \
	        if (name == "") { print "make generate: a document without a name" > "/dev/stderr"; failed = 1; exit 1 } \
	        file = out "/" name ".yaml"; \
	        printf "# Written by `make generate` from src/api/. Do not edit.\n%s", doc > file; \
	        close(file); doc = ""; name = "" \
	    } \
	    /^---/ { flush(); next } \
	    { doc = doc $$0 "\n" } \
	    name == "" && /^  name: [a-z]+\.vaultsecret\.dev$$/ { name = $$2; sub(/\..*/, "", name) } \
	    END { if (!failed) flush() }' '$(OUT)/.all.yaml'
	@rm -f '$(OUT)/.all.yaml'
	@if [ '$(OUT)' = crds ]; then cp $(CRDS:%=crds/%) $(CHART)/files/crds/ && $(MAKE) --no-print-directory reference; fi

reference: ## Write docs/reference/ from crds/ and the metrics
	@$(CARGO) run --quiet --bin vaultsecret -- metrics | $(DEVKIT) reference --crds crds --out '$(REFERENCE)'

check-generated: ## Fail when crds/, the chart's copy or docs/reference/ is not what make generate writes
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(MAKE) --no-print-directory generate OUT="$$fresh" && \
	for file in $(CRDS); do \
	    diff -u "crds/$$file" "$$fresh/$$file" || { echo "crds/$$file is stale: run make generate" >&2; exit 1; }; \
	    cmp "$(CHART)/files/crds/$$file" "$$fresh/$$file" || { echo "$(CHART) is stale: run make generate" >&2; exit 1; }; \
	done && \
	test "$$(ls "$$fresh" | wc -l)" -eq $(words $(CRDS)) && test "$$(ls $(CHART)/files/crds | wc -l)" -eq $(words $(CRDS)) || { echo 'a CRD is missing in the Makefile and in crds/kustomization.yaml' >&2; exit 1; }
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(MAKE) --no-print-directory reference REFERENCE="$$fresh" && \
	{ diff -ru docs/reference "$$fresh" || { echo 'docs/reference is stale: run make generate' >&2; exit 1; }; }

deny: ## Check licences, bans and sources of the dependencies (needs cargo-deny)
	$(CARGO) deny --workspace check licenses bans sources

# With --target the flags are for what runs in the end, and not for build scripts.
fuzz-build:
	RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --release --manifest-path fuzz/Cargo.toml --target $(FUZZ_HOST) \
	    --target-dir '$(FUZZ)' --bin $(TARGET)

fuzz: fuzz-build ## Fuzz on stable Rust (TARGET=template SECONDS=600; a C++ compiler is needed); findings end it
	@mkdir -p '$(FUZZ)/corpus/$(TARGET)' '$(FUZZ)/findings'
	'$(FUZZ_RUN)' '$(FUZZ)/corpus/$(TARGET)' fuzz/corpus/$(TARGET) -max_total_time=$(SECONDS) $(FUZZ_ARGS) \
	    -dict=fuzz/dictionaries/$(TARGET).dict -artifact_prefix='$(FUZZ)/findings/$(TARGET)-'

fuzz-corpus: fuzz-build ## Add to fuzz/corpus what make fuzz found that reaches further (TARGET=template)
	'$(FUZZ_RUN)' -set_cover_merge=1 -max_len=4096 fuzz/corpus/$(TARGET) '$(FUZZ)/corpus/$(TARGET)'

clean: ## Remove what was built here; the control plane in the cache folder stays
	$(CARGO) clean
