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

CRDS := vaultsecrets.yaml vaultconnections.yaml clustervaultconnections.yaml clustervaultsecrets.yaml
DEVKIT := $(CARGO) run --quiet --package devkit --

# The image: its name, where its source is to be found (a label), and what it is built for: the machine's own kind of processor.
# The commit is empty outside a Git repository. Everything in the image is as old as the commit, so that the same source gives the
# same image.
IMAGE ?= vaultsecret-operator
TAG ?= dev
SOURCE ?=
BUILDAH ?= buildah
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
COMMIT = $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)
COMMIT_TIME = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
IMAGE_TARGET = $(shell uname -m | sed s/arm64/aarch64/)-unknown-linux-musl
TARGET_FOLDER = $(or $(CARGO_TARGET_DIR),target)
STATIC = $(TARGET_FOLDER)/$(IMAGE_TARGET)/image/vaultsecret
# A static program that is there already, of whatever build; none is built then.
PROGRAM ?=
IMAGE_LIMIT := 20000000
SBOM_TOOL_VERSION := 0.5.9
SBOM_TOOL = $${XDG_CACHE_HOME:-$$HOME/.cache}/vaultsecret-devkit/cargo-cyclonedx-$(SBOM_TOOL_VERSION)

# Built once for each state of its go.mod.
PROMTOOL = $${XDG_CACHE_HOME:-$$HOME/.cache}/vaultsecret-devkit/promtool-$(firstword $(shell cksum devkit/promtool/go.mod))/promtool

.DEFAULT_GOAL := help
.PHONY: help tools demo cluster cluster-down e2e test test-unit chart image-tools static image bench controlplane serve remotes fmt lint docs generate check-generated deny fuzz fuzz-build fuzz-corpus sbom promtool gitops gitops-argocd gitops-update gitops-record krew transcript site reference clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

cluster: tools ## Bring up a real Kubernetes node on this machine, in namespaces of its own (Linux, root); prints its kubeconfig
	@$(DEVKIT) cluster up

cluster-down: ## End that node; nothing is left of it
	@$(DEVKIT) cluster down

# Said before minutes are spent on an image.
e2e: E2E_IMAGE = $(TARGET_FOLDER)/e2e-image.tar
e2e: tools ## The operator on that node: chart, consumers, leader and kubelet gone, upgrade, uninstall; times and writes (ARGS=--keep)
	@$(DEVKIT) cluster check
	@$(MAKE) --no-print-directory image TAG=e2e OUT='$(E2E_IMAGE)'
	$(DEVKIT) e2e --image '$(E2E_IMAGE)' $(ARGS)

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

# Which folders the compiler ran in is nobody's business; with --target the flags are for the program and not for build scripts.
image-tools:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: install it by rustup, https://rustup.rs' >&2; exit 1; }
	@command -v $(BUILDAH) >/dev/null || { echo 'buildah is missing: install it, or build with docker or podman from the Containerfile' >&2; exit 1; }
	@command -v musl-gcc >/dev/null || { echo 'musl-gcc is missing: install musl-tools (Debian) or musl-gcc (Fedora)' >&2; exit 1; }
	@! command -v rustup >/dev/null || rustup target list --installed | grep -qx $(IMAGE_TARGET) || rustup target add $(IMAGE_TARGET)

static: image-tools ## Build the static program that the image holds, and print where it is
	@VAULTSECRET_COMMIT='$(COMMIT)' \
	    RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo --remap-path-prefix=$(CURDIR)=/src" \
	    $(CARGO) build --profile image --locked --bin vaultsecret --target $(IMAGE_TARGET)
	@echo '$(STATIC)'

image: OUT :=
image: $(if $(PROGRAM),,static) ## Build the image with buildah (IMAGE=vaultsecret-operator TAG=dev; OUT=image.tar writes it to a file as well)
	@set -e; root='$(TARGET_FOLDER)/image'; rm -rf "$$root"; mkdir -p "$$root/etc/ssl/certs"; \
	cp '$(or $(PROGRAM),$(STATIC))' "$$root/vaultsecret"; \
	$(DEVKIT) ca-certificates >"$$root/etc/ssl/certs/ca-certificates.crt"; \
	chmod -R u=rwX,go=rX "$$root"; \
	bytes=$$(cat "$$root/vaultsecret" "$$root/etc/ssl/certs/ca-certificates.crt" | wc -c); \
	test -n '$(PROGRAM)' || test "$$bytes" -le $(IMAGE_LIMIT) || { echo "$$bytes bytes: the image is larger than $(IMAGE_LIMIT)" >&2; exit 1; }; \
	$(BUILDAH) build --quiet --file Containerfile --target packed --identity-label=false --timestamp $(COMMIT_TIME) --tag '$(IMAGE):$(TAG)' \
	    --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(or $(COMMIT),unknown)' --build-arg SOURCE='$(SOURCE)' "$$root" >/dev/null; \
	echo "$(IMAGE):$(TAG) $$($(BUILDAH) images --quiet '$(IMAGE):$(TAG)') $$bytes bytes"; \
	if [ -n '$(OUT)' ]; then \
	    rm -f '$(OUT)'; $(BUILDAH) push --quiet '$(IMAGE):$(TAG)' 'docker-archive:$(OUT):$(IMAGE):$(TAG)'; \
	    echo "$(OUT)"; \
	fi

# cargo cyclonedx writes beside each Cargo.toml of the workspace, and the workspace's folder into the file. What cargo says is in the
# program has to be in the list.
sbom: OUT := $(TARGET_FOLDER)/vaultsecret.cdx.json
sbom: ## Write what the image's program is made of, as CycloneDX JSON (OUT=target/vaultsecret.cdx.json); checks it against cargo
	@test -x "$(SBOM_TOOL)/bin/cargo-cyclonedx" || \
	    $(CARGO) install --quiet --locked --root "$(SBOM_TOOL)" --version $(SBOM_TOOL_VERSION) cargo-cyclonedx
	@set -e; name=.sbom-$$$$; trap 'rm -f "$$name.json" "devkit/$$name.json"' EXIT; \
	SOURCE_DATE_EPOCH=$(COMMIT_TIME) "$(SBOM_TOOL)/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --target $(IMAGE_TARGET) \
	    --no-build-deps --override-filename "$$name"; \
	sed 's|path+file://$(CURDIR)|path+file:///src|g' "$$name.json" >'$(OUT)'; \
	grep -o '"purl": "pkg:cargo/[^"?]*' '$(OUT)' | sed 's|.*pkg:cargo/||' | grep -v '^vaultsecret-operator@' | LC_ALL=C sort -u >"$$name.json"; \
	$(CARGO) tree --locked --package vaultsecret-operator --edges normal,no-proc-macro --target $(IMAGE_TARGET) --prefix none --format '{p}' | \
	    sed -E 's/^([^ ]+) v([^ ]+).*/\1@\2/' | grep -v '^vaultsecret-operator@' | LC_ALL=C sort -u >"devkit/$$name.json"; \
	test -s "devkit/$$name.json"; \
	missing=$$(LC_ALL=C comm -13 "$$name.json" "devkit/$$name.json"); \
	test -z "$$missing" || { printf 'not in the list, but in the program:\n%s\n' "$$missing" >&2; exit 1; }; \
	echo "$(OUT): $$(wc -l <"$$name.json") crates, all $$(wc -l <"devkit/$$name.json") of the program among them"

# Apart from `make test`: promtool takes minutes to build the first time.
promtool: tools ## Check alerts and metrics with Prometheus' own promtool: rules, their unit tests, and the metrics of a real run
	@command -v go >/dev/null || { echo 'Go is missing: promtool is built with it the first time' >&2; exit 1; }
	@test -x "$(PROMTOOL)" || { echo 'building promtool' >&2; cd devkit/promtool && \
	    GOFLAGS=-mod=readonly go build -trimpath -ldflags='-s -w' -o "$(PROMTOOL)" github.com/prometheus/prometheus/cmd/promtool; }
	@$(DEVKIT) helm >/dev/null
	VAULTSECRET_PROMTOOL="$(PROMTOOL)" $(CARGO) test --test chart -- --ignored promtool
	VAULTSECRET_PROMTOOL="$(PROMTOOL)" $(CARGO) test --test isolated -- dashboard_and_alerts

gitops: ## Check what Argo CD and Flux make of recorded objects, and their examples (needs Go; ARGS=-v)
	cd gitops/tests && test -z "$$(gofmt -l .)" && go vet ./... && go test ./... $(ARGS)

gitops-argocd: ## The same in Argo CD's own code: scripts and differences (minutes to build the first time)
	cd gitops/tests/argocd && test -z "$$(gofmt -l .)" && go vet ./... && go test ./... $(ARGS)

gitops-update: ## Write what gitops/argocd has of the scripts and of the recorded objects anew
	cd gitops/tests && go test -count 1 . -update

gitops-record: tools ## Record the objects in gitops/testdata anew, from a real API server (needs Python 3)
	$(CARGO) build --workspace --bins
	python3 gitops/record.py $(if $(CARGO_TARGET_DIR),--programs '$(CARGO_TARGET_DIR)/debug')
	@$(MAKE) --no-print-directory gitops-update

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
	@$(DEVKIT) site $(ARGS)

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

krew: ## Make krew's archive of the kubectl plugin for this machine in target/krew, and the manifest with its sha256
	$(CARGO) build --release --bin vaultsecret
	@packaging/krew/archive.sh "$${CARGO_TARGET_DIR:-target}/release/vaultsecret" target/krew

transcript: tools ## Write docs/plugin-transcript.md from a real run of the plugin
	VAULTSECRET_TRANSCRIPT=docs/plugin-transcript.md $(CARGO) test --test behaviours u9_

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
