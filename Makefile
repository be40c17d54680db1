# make run    build, and start a tower on embedded defaults
# make test   everything that must pass before a change is taken
# make check  the part of it that needs no processes: format, vet, staticcheck, tests with -race, seeds of the fuzz tests

GO       ?= go
TAGS     ?= libsecp256k1
# inputs, not seconds: where a deadline comes, the fuzzer at times reports the deadline itself as a failure
FUZZTIME ?= 300000x
KILLS    ?= 500
SECONDS  ?= 10
ROUNDS   ?= 3
STORED   ?= 100000

TOOL     := $(GO) tool -modfile=tools.mod
SOURCES   = $(shell git ls-files --cached --others --exclude-standard '*.go')
# e2e starts processes and takes minutes; it has a target of its own
PACKAGES  = $(shell $(GO) list -tags '$(TAGS)' ./... | grep -v '/e2e$$')

.PHONY: deps run build test check format vet lint race counts fuzz bench bench-relays bench-pipeline soak pure e2e lightning lightning-bin lnbits-venv simnet clean

run: build
	./bin/timmy run

build:
	$(GO) build -tags '$(TAGS)' -trimpath -o bin/timmy ./cmd/timmy

# what the tests need of the system: a PostgreSQL server, which they start and end themselves,
# and a Python that makes environments
deps:
	@want=; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || want="postgresql"; \
	python3 -c 'import ensurepip' 2>/dev/null || want="$$want python3-venv"; \
	if [ -z "$$want" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "missing, install the packages: $$want"; exit 1; fi; \
	apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$want

test: export CI = true
test: deps check counts pure e2e lightning

check: format vet lint race
	$(MAKE) fuzz FUZZTIME=5000x

format:
	@unformatted="$$($(TOOL) gofumpt -l $(SOURCES))"; \
	if [ -n "$$unformatted" ]; then echo "not formatted with gofumpt:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet -tags '$(TAGS)' ./...
	$(GO) vet -tags '$(TAGS) failpoint' ./failpoint ./cmd/timmy

lint:
	$(TOOL) staticcheck -tags '$(TAGS)' ./...

race:
	$(GO) test -tags failpoint ./failpoint
	$(GO) test -race -tags '$(TAGS)' $(PACKAGES)

# the promises of the books as often as docs/promises.md says, on SQLite: minutes
COUNTED = Debits|HoldEndsOnce|NewKeys|CreditIsOnce|TopUpsAndDebits|CancelledCall|EveryStep|KilledMigration
counts:
	TIMMY_SOAK=sqlite $(GO) test -tags '$(TAGS)' -count=1 -timeout 20m -run '$(COUNTED)' ./ledger

# every fuzz target for FUZZTIME, one after the other
fuzz:
	@set -e; for p in $(PACKAGES); do \
		for f in $$($(GO) test -tags '$(TAGS)' -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$p $$f"; \
			$(GO) test -tags '$(TAGS)' -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
		done; \
	done

bench: build bench-relays bench-pipeline
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchmem $(PACKAGES)
	$(GO) run -tags '$(TAGS)' ./bench -timmy ./bin/timmy -seconds $(SECONDS)

# this relay beside khatru with its stores, ROUNDS times in turns; the one query of the
# goals is asked of STORED events. The module is of its own: what it needs may move
# when the tower's own requirements do
bench-relays: build
	cd bench/relays && $(GO) build -mod=mod -tags '$(TAGS)' -o ../../bin/relays .
	./bin/relays -timmy ./bin/timmy -rounds $(ROUNDS) -stored $(STORED)

# a direct message from its wrap to its answer, beside the bare database and the default
# parts, which are built without C code for the curve
bench-pipeline:
	cd bench/relays && $(GO) build -mod=mod -tags '$(TAGS)' -o ../../bin/pipeline ./pipeline
	cd bench/relays && $(GO) build -mod=mod -o ../../bin/pipeline-pure ./pipeline
	./bin/pipeline -pure ./bin/pipeline-pure -rounds $(ROUNDS)
	./bin/pipeline -growth 100000

# kill -9 under load, KILLS times, and at each failpoint; and all promises of the books
# as often as docs/promises.md says, on both databases: hours. What is random follows
# from the TIMMY_SEED that is printed: given again, it makes the same choices
soak:
	TIMMY_SOAK=all $(GO) test -tags '$(TAGS)' -count=1 -timeout 8h -v ./ledger
	TIMMY_SOAK=all TIMMY_KILLS=$(KILLS) $(GO) test -tags '$(TAGS)' -count=1 -timeout 4h -run 'Killed|Failpoint|UnreadAnswers' -v ./e2e

# the build without C code for the curve, where it differs
pure:
	$(GO) test ./nip ./relay ./lnurl ./cmd/timmy

e2e: e2e/js/node_modules
	$(GO) test -tags '$(TAGS)' -count=1 -timeout 20m -skip '^Test(Lightning|LNbitsItself)$$' ./e2e

# paid by real nodes on a network of their own, and by a real LNbits
lightning: lightning-bin lnbits-venv e2e/js/node_modules
	$(GO) test -tags '$(TAGS)' -count=1 -timeout 20m -run '^Test(Lightning|LNbitsItself)$$' -v ./e2e

# that network, to try things on: it prints the settings of a tower, and pays
simnet: lightning-bin
	$(GO) run ./e2e/simnet/run

# btcd and lnd, built once: four minutes on two cores
lightning-bin: e2e/lightning/bin/lnd

e2e/lightning/bin/lnd: e2e/lightning/go.mod e2e/lightning/go.sum
	cd e2e/lightning && $(GO) build -trimpath -o bin/ tool
	@touch $@

# LNbits, as its users install it
lnbits-venv: e2e/lnbits/venv/bin/lnbits

e2e/lnbits/venv/bin/lnbits: e2e/lnbits/requirements.txt
	rm -rf e2e/lnbits/venv
	python3 -m venv e2e/lnbits/venv
	e2e/lnbits/venv/bin/pip install --quiet --disable-pip-version-check -r e2e/lnbits/requirements.txt
	@touch $@

e2e/js/node_modules: e2e/js/package-lock.json
	cd e2e/js && npm ci --no-audit --no-fund
	@touch $@

clean:
	rm -rf bin dist
