# Everything that a developer or CI runs. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := $(CURDIR)/bin
ARGS ?=
PKG ?=
FUZZTIME ?= 20000x

# Tools are built again only when their versions change: the stamp's name is a checksum of go.mod and go.sum.
PROTO_STAMP := $(BIN)/.proto-$(shell cat tools/go.mod tools/go.sum | cksum | cut -d' ' -f1)
LINT_STAMP := $(BIN)/.lint-$(shell cat tools/lint/go.mod tools/lint/go.sum | cksum | cut -d' ' -f1)

# The product's modules, and the chart's tests, which go.work leaves out. Tools change by `go get -tool` alone.
MODULES = $(filter-out tools/%,$(dir $(shell git ls-files '*go.mod')))
GOVULNCHECK := v1.9.0
ACTIONLINT := v1.7.7

# ---- using it

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## "; print "make TARGET [ARGS=…]\n" } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Run all of Starling on this machine: http://localhost:3000 (ARGS="-gateways 3", ARGS=--help)
	@tools/web.sh && mkdir -p "$(BIN)" && go build -o "$(BIN)/starling" ./deploy/local && exec "$(BIN)/starling" --examples $(ARGS)

.PHONY: clean
clean: ## Remove the data that `make run` keeps
	@go run ./deploy/local -clean $(ARGS)

# ---- testing it

# Most of these wait most of the time, so two lanes of them run at once, beside what only computes. Those that judge times come last, alone.
.PHONY: test
test: ## All tests that need no container engine, with times; stops at the first failure
	@tools/steps.sh check proto-check contract-check 'unit unit-epoll | e2e web conformance | nice lint helm-test fuzz-short' attack-short chaos-short

.PHONY: check
check: ## What is missing on this machine (on Debian, as root, it says what it installs, and installs it)
	@tools/check.sh

.PHONY: proto
proto: ## Lint the protos, generate proto/gen, look for breaking changes
	@tools/proto.sh generate

.PHONY: proto-check
proto-check: ## Is proto/gen what the protos say (FULL=1: also when the checksum says so)
	@tools/proto.sh check

.PHONY: contract
contract: ## Generate from proto/events/source: the types, the AsyncAPI document, the tables of docs/events.md
	@go run ./deploy/contract

.PHONY: contract-check
contract-check: ## Is what the contract of client events generates what its source says
	@go run ./deploy/contract -check && echo "all that comes from proto/events/source is as it says"

.PHONY: lint
lint: $(LINT_STAMP) ## Lint every module of go.work (.golangci.yml; PKG=./gateway/... for less)
	@"$(BIN)/golangci-lint" run --allow-parallel-runners $(ARGS) $(or $(PKG),$$(go list -m -f '{{.Dir}}/...'))
	@go vet -tags sabotage ./chat-service ./gateway # what only the fault rig builds

.PHONY: fmt
fmt: $(LINT_STAMP) ## Format every module of go.work as the linter wants it (PKG=./gateway/...)
	@"$(BIN)/golangci-lint" fmt $(ARGS) $(or $(PKG),$$(go list -m -f '{{.Dir}}/...'))

.PHONY: tidy
tidy: ## go mod tidy in every module (ARGS=-diff: only say what would change, and fail)
	@for mod in $(MODULES); do (cd "$$mod" && GOWORK=off go mod tidy $(ARGS)) || exit 1; done

.PHONY: modules
modules: ## Build and vet every module of go.work on its own, as its users and the images do (GOWORK=off)
	@for mod in $$(go list -m -f '{{.Dir}}'); do (cd "$$mod" && GOWORK=off go vet ./...) || exit 1; done

.PHONY: vuln
vuln: ## Known vulnerabilities in what the programs call (asks the Go vulnerability database)
	@for mod in $$(go list -m -f '{{.Dir}}'); do \
	  (cd "$$mod" && GOWORK=off go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./...) || exit 1; done

.PHONY: unit
# Tests wait most of the time: there are more of them, and of packages, at once than processors. The linter has go vet's checks.
UNIT := go test -race -vet=off -p 4 -parallel 8
unit: ## go test -race over every module of go.work (PKG=./gateway/... for less)
	@$(UNIT) $(ARGS) $(or $(PKG),$$(go list -m -f '{{.Path}}/...'))

.PHONY: unit-epoll
unit-epoll: ## The gateway's tests once more, with event loops in place of a goroutine for each WebSocket (PKG=./gateway/internal/edge for less)
	@$(UNIT) -tags epoll $(ARGS) $(or $(PKG),./gateway/...)

.PHONY: helm-test
helm-test: ## The Helm chart, rendered and checked offline
	@cd deploy/helmtest && GOWORK=off go test $(ARGS) ./...

.PHONY: workflows
workflows: ## The workflows of GitHub, by actionlint (and shellcheck, where it is installed)
	@go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT) .github/workflows/*.yml

.PHONY: fuzz-short
fuzz-short: ## Every fuzz target for FUZZTIME (20000x: executions; 5m: time)
	@tools/fuzz.sh $(FUZZTIME)

.PHONY: conformance
conformance: test/conformance/clients/node_modules/.package-lock.json ## Official clients against the gateway's protocol stack
	@cd test/conformance/clients && node run.js $(ARGS)

.PHONY: e2e
e2e: test/e2e/node_modules/.package-lock.json ## The client contract with the official client, on three gateways, and `proxies` (ARGS="rooms rest")
	@cd test/e2e && node run.js $(ARGS)

.PHONY: web
web: web/node_modules/.package-lock.json test/e2e/node_modules/.package-lock.json ## The web app: types, store, sizes, and two people in a browser (ARGS="--test-name-pattern=tabs")
	@cd web && node test.js $(ARGS)

.PHONY: proxies
proxies: test/e2e/node_modules/.package-lock.json ## A browser, Node and Python behind HAProxy, nginx and proxies that block WebSockets (what is installed)
	@cd test/e2e && node run.js proxies

.PHONY: chaos
chaos: ## The fault rig: a minute of faults on real processes, then the promises are checked (ARGS="-seed 7", ARGS=--help)
	@mkdir -p "$(BIN)" && go build -o "$(BIN)/chaos-rig" ./test/chaos && exec "$(BIN)/chaos-rig" $(ARGS)

.PHONY: chaos-short
# The same faults each time: whether a change passes is not to hang on the choice of others.
chaos-short: ## The fault rig in less than a minute (ARGS="-seed 0": other faults each time)
	@$(MAKE) chaos ARGS="-short -seed 202859058 $(ARGS)"

.PHONY: chaos-sabotage
chaos-sabotage: ## Starling broken on purpose, in each of seven ways: the fault rig must notice (RUNS=1)
	@mkdir -p "$(BIN)" && go build -o "$(BIN)/chaos-rig" ./test/chaos
	@for mode in ack-before-commit no-outbox no-gap-repair no-eviction no-log-repair edit-skips-changed late-activity; do \
	  "$(BIN)/chaos-rig" -short -runs $(or $(RUNS),1) -sabotage "$$mode" $(ARGS) || exit 1; done

.PHONY: soak
soak: ## The fault rig for half an hour
	@$(MAKE) chaos ARGS="-duration 30m $(ARGS)"

.PHONY: attack
attack: ## A stranger who takes from everybody, in a dozen ways: what others feel of it (ARGS="-only frames,logins", ARGS=--help)
	@mkdir -p "$(BIN)" && go build -o "$(BIN)/attack-rig" ./test/attack && exec "$(BIN)/attack-rig" $(ARGS)

.PHONY: attack-short
attack-short: ## The attacks in less than a minute
	@$(MAKE) attack ARGS="-short $(ARGS)"

.PHONY: compose-test
compose-test: ## docker-compose.yml for real: the e2e suite, then every container restarted and killed under load (ARGS=--help)
	@deploy/docker/compose-test.sh $(ARGS)

.PHONY: k8s-test
k8s-test: ## The chart on a cluster for tests: installed, the e2e suite, rolled, killed and scaled under load (ARGS=--help)
	@deploy/helm/k8s-test.sh $(ARGS)

.PHONY: bench
bench: test/bench/reference/node_modules/.package-lock.json ## Starling beside the usual Node server (ARGS=--help)
	@go run ./test/bench $(ARGS)

.PHONY: bench-million
bench-million: ## As many connections as this machine bears, a million at most: many gateways, everybody in a room, all back after a cut (ARGS=--help)
	@go build -o "$(BIN)/bench-million" ./test/bench/million && "$(BIN)/bench-million" $(ARGS)

# ---- tools

.PHONY: proto-tools
proto-tools: $(PROTO_STAMP)
	@:

$(PROTO_STAMP):
	@echo "building buf and the generators (tools/go.mod)"
	@cd tools && GOWORK=off GOBIN="$(BIN)" go install tool
	@rm -f "$(BIN)"/.proto-*; touch $@

$(LINT_STAMP):
	@echo "building golangci-lint (tools/lint/go.mod); on a machine without Go's caches that takes minutes"
	@cd tools/lint && GOWORK=off GOBIN="$(BIN)" go install tool
	@rm -f "$(BIN)"/.lint-*; touch $@

# npm writes this file last; it is older than package-lock.json after a change of versions.
%/node_modules/.package-lock.json: %/package-lock.json
	@cd $* && npm ci --no-progress
	@touch $@
