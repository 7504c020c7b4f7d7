# meshnode. All a clone needs is Go, and for most of the tests Node.js. See README.md.

GO       ?= go
TIMEOUT  ?= 30m
FUZZTIME ?= 30s
BIN      := bin/meshnode

.PHONY: build test check demo fuzz clean

build: ## one static binary, bin/meshnode
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/meshnode

demo: ## three nodes on 127.0.0.1-3 with a small app, until Ctrl-C
	@$(GO) build -o bin/demo ./e2e/demo && exec bin/demo

# Express and Fastify, which two of the end-to-end tests run unmodified; those tests are skipped where there is no npm.
APPS := $(if $(shell command -v npm),e2e/apps/node_modules/.package-lock.json)

e2e/apps/node_modules/.package-lock.json: e2e/apps/package-lock.json
	cd e2e/apps && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

test: check $(APPS) ## everything: formatting, vet, all tests with the race detector; the end-to-end tests say what they measured
	@status=0; set -x; \
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout=$(TIMEOUT) $$($(GO) list ./... | grep -v '/e2e$$') || status=1; \
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout=$(TIMEOUT) -v ./e2e || status=1; \
	exit $$status

check: ## formatting and vet only
	@unformatted="$$(gofmt -l cmd node mesh balancer store e2e)"; if [ -n "$$unformatted" ]; then \
	  echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...

fuzz: ## every fuzz target in turn, FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

clean:
	rm -rf bin
