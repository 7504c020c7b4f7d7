# meshnode. All a clone needs is Go, and for most of the tests Node.js. See README.md.

GO       ?= go
TIMEOUT  ?= 30m
FUZZTIME ?= 30s
BIN      := bin/meshnode

.PHONY: build test test-programs test-faults cluster50 check demo sim bench bench-proxies bench-restarts bench-logs fuzz fuzz-short clean

build: ## one static binary, bin/meshnode
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/meshnode

demo: ## three nodes on 127.0.0.1-3 with a small app, until Ctrl-C
	@$(GO) build -o bin/demo ./e2e/demo && exec bin/demo

# Express and Fastify, which two of the end-to-end tests run unmodified; those tests are skipped where there is no npm.
APPS := $(if $(shell command -v npm),e2e/apps/node_modules/.package-lock.json)

e2e/apps/node_modules/.package-lock.json: e2e/apps/package-lock.json
	cd e2e/apps && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

# PM2, which the benchmark runs beside meshnode.
e2e/bench/node_modules/.package-lock.json: e2e/bench/package-lock.json
	@command -v npm >/dev/null && command -v node >/dev/null || { echo "there is no npm: install Node.js 18 or newer, with npm, to compare with PM2" >&2; exit 1; }
	cd e2e/bench && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

ROUNDS ?= 2

bench: e2e/bench/node_modules/.package-lock.json ## meshnode beside PM2: requests lost, times, cost; 25 minutes a round (ROUNDS), into e2e/bench/RESULTS.md; ONLY=name,name prints those
	$(GO) build -o bin/bench ./e2e/bench && exec bin/bench -rounds $(ROUNDS) -only "$(ONLY)"

bench-proxies: e2e/bench/node_modules/.package-lock.json ## beside NGINX, HAProxy, Caddy, PM2 and Node's cluster (apt-get install nginx libnginx-mod-stream haproxy caddy wrk): 20 minutes a round, into the same file
	$(GO) build -o bin/bench ./e2e/bench && exec bin/bench -rounds $(ROUNDS) -only "$(ONLY)" proxies

sim: ## the policy in simulation, 4 to 1,000 nodes, into balancer/SIMULATION.md; some minutes
	$(GO) test ./balancer/sim -count=1 -timeout=60m -v -run '^TestWhole$$' -args -whole $(CURDIR)/balancer/SIMULATION.md

bench-restarts: ## memory after 10,000 restarts of workers and 1,000 reloads (RESTARTS, RELOADS), into the same file
	$(GO) build -o bin/bench ./e2e/bench && exec bin/bench -rounds 1 -count $(or $(RESTARTS),10000) -reloads $(or $(RELOADS),1000) restarts

bench-logs: e2e/bench/node_modules/.package-lock.json ## 1,000,000 lines from each of two workers (LINES), into the same file
	$(GO) build -o bin/bench ./e2e/bench && exec bin/bench -rounds $(or $(LOG_ROUNDS),3) -count $(or $(LINES),1000000) logs

test: check $(APPS) ## everything: formatting, vet, all tests with the race detector, each fuzz target for a moment; the end-to-end tests say what they measured
	@status=0; set -x; \
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout=$(TIMEOUT) $$($(GO) list ./... | grep -v '/e2e$$') || status=1; \
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout=$(TIMEOUT) -v ./e2e || status=1; \
	$(MAKE) --no-print-directory fuzz-short || status=1; \
	exit $$status

test-programs: ## gunicorn, uvicorn, puma and PHP under meshnode; those that are not installed are skipped, and their Debian packages named
	$(GO) test -count=1 -timeout=$(TIMEOUT) -v -run '^(TestPrograms|TestGoProgram)$$' ./e2e

FAULTS := ^(TestBadLinks|TestServersRestartedInTurn|TestStoppedAndKilledServer|TestPartitions|TestServersOfDoubtfulIdentity|TestDisks|TestRestartsInTurn|TestDeathIsAgreedOn|TestHostileTraffic|TestHostileRaft|TestHalfOpenClients|TestPortsRunOut|TestSlowClients|TestOtherReleases|TestDescriptorsRunOut|TestKilledWorkerCostsOnlyWhatWasOnIt|TestKilledLeaderAndLostQuorum|TestEndlessLoop|TestMemoryAndCronRestart|TestReleaseThatBreaksOnTheSecondNode|TestLeaderKilledInTheMiddleOfARollout|TestUpgradeLosesNothing|TestBrokenBinariesAreRefused|TestKilledNodeProcessCostsNothing|TestStartMistakes|TestServersWithoutTheKey|TestPowerCut|TestClockJumps|TestNamesAreGone|TestDiskFullOfLogs|TestMemoryRunsOut|TestNoFalseDeath|TestLargeClusters|TestWorkersThatMisbehave|TestTyposChangeNothing|TestMalformedBodies|TestNobodyIsSentToAWorkerThatIsGone|TestStartOrder|TestKeyRotationInterrupted|TestIdleConnections)$$

test-faults: ## every fault of the matrix, for longer than in make test, into e2e/FAULTS.md: an hour, as root, with strace; ONLY=regexp measures some rows again
	MESHNODE_E2E_FAULTS=1 MESHNODE_E2E_FAULTS_FILE=FAULTS.md MESHNODE_E2E_CLUSTER=50 $(GO) test -count=1 -timeout=90m -v -run '$(or $(ONLY),$(FAULTS))' ./e2e

cluster50: ## fifty servers on this machine, and twenty: bandwidth, processor time, memory, times; 3 minutes, as root, into e2e/CLUSTER50.md
	MESHNODE_E2E_CLUSTER=50,20 MESHNODE_E2E_CLUSTER_FILE=CLUSTER50.md $(GO) test -count=1 -timeout=$(TIMEOUT) -v -run '^TestLargeClusters$$' ./e2e

check: ## formatting and vet only
	@unformatted="$$(gofmt -l cmd node mesh balancer store e2e)"; if [ -n "$$unformatted" ]; then \
	  echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...

fuzz: ## every fuzz target in turn, FUZZTIME each; little of it is spent on making inputs smaller
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$pkg; \
	  done; \
	done

# A count and not a time: a worker that is busy when the time is over is a failure to Go before 1.27. Only this module's packages are instrumented, so that
# what they import is not compiled once more.
FUZZCOUNT ?= 10000

fuzz-short: ## FUZZCOUNT inputs for every fuzz target, as make test has it; half a minute
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for pkg in $$(grep -rl '^func Fuzz' --include='*_test.go' cmd node mesh balancer store | xargs -n1 dirname | sort -u); do \
	  $(GO) test -c -vet=off -gcflags='meshnode/...=-d=libfuzzer' -o "$$dir/fuzz" "./$$pkg"; \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$pkg/*_test.go); do \
	    (cd $$pkg && "$$dir/fuzz" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZCOUNT)x -test.fuzzminimizetime 100x -test.fuzzcachedir "$$dir/$$pkg") \
	      >"$$dir/said" 2>&1 || { cat "$$dir/said"; exit 1; }; \
	    if grep 'without coverage' "$$dir/said"; then exit 1; fi; \
	    echo "$$pkg $$target: $$(grep execs: "$$dir/said" | tail -n 1)"; \
	  done; \
	done

clean:
	rm -rf bin
