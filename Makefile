# tollgate's workshop. `make` alone lists what there is; README.md says when to use it.
# Each recipe is one bash script that ends at its first failure.

ifeq ($(filter oneshell,$(.FEATURES)),)
$(error GNU make 3.82 or newer is needed; on macOS: brew install make, then gmake)
endif

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

NODE_MAJOR := 20
CARGO_DENY_VERSION := 0.20.2

FIXTURES := anvil-fixtures/node_modules/.complete
# The one on the PATH, else one of our own, which is made when it is needed.
CARGO_DENY := $(or $(shell command -v cargo-deny),.tools/bin/cargo-deny)

.PHONY: help
help: ## What there is to make
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

## ---- Run

# Unoptimised, as tests are: the dependencies, which hold the arithmetic, are optimised in either profile, and a release
# build would compile all of them once more before the first line of the tour.
.PHONY: demo
demo: fixtures ## The tour on a real anvil, then stays up; EXIT=1 ends after the tour
	@cargo build --locked --bin tollgate --example demo
	exec "$${CARGO_TARGET_DIR:-target}/debug/examples/demo" $(if $(EXIT),--exit)

.PHONY: run
run: ## The service, optimised: make run CONFIG=path/to/tollgate.toml
	@config='$(CONFIG)'
	[[ -n $$config ]] || { echo 'make run needs a configuration: make run CONFIG=path/to/tollgate.toml' >&2; exit 2; }
	exec cargo run --locked --release -- run --config "$$config"

## ---- Check

# Without a choice of targets cargo runs the tests of the library, the binary and tests/it, builds the examples, and leaves
# the benches alone. Its summary stays the last thing that is printed.
.PHONY: test
test: fixtures postgres prometheus chromium ## All tests, against a real anvil, SQLite, PostgreSQL, Prometheus and Chromium
	@npm --prefix anvil-fixtures run --silent check
	exec cargo test --locked --no-fail-fast

# Optimised, because it is run by the thousand.
.PHONY: sim
sim: ## The simulator, optimised: SEEDS=1000 from FROM=1 on
	@exec cargo run --locked --release --example tollgate-sim -- --seeds '$(or $(SEEDS),1000)' --from '$(or $(FROM),1)'

# Clippy and rustdoc share one check of the dependencies; the private items are documented too, so that links among them
# are checked.
.PHONY: check
check: $(CARGO_DENY) ## Format, lints, documentation, and the dependencies' licences, sources and advisories
	@cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --lib --no-deps --document-private-items
	$(CARGO_DENY) --locked check bans licenses sources
	if $(CARGO_DENY) fetch db; then
		$(CARGO_DENY) --locked check advisories
	else
		echo 'the advisories were NOT checked: their database cannot be fetched from here' >&2
	fi

.PHONY: bench
bench: fixtures postgres ## Benchmarks, one JSON object a line; ONLY=prefix for some, QUICK=1 for a look
	@exec env ONLY='$(ONLY)' QUICK='$(QUICK)' cargo bench --locked --bench tollgate

## ---- What they need

.PHONY: fixtures
fixtures: node $(FIXTURES) ## Install anvil, the Solidity compiler and the test contracts' libraries

$(FIXTURES): anvil-fixtures/package.json anvil-fixtures/package-lock.json | node
	@(cd anvil-fixtures && npm ci --no-audit --no-fund) >&2
	if ! compgen -G 'anvil-fixtures/node_modules/@foundry-rs/anvil-*/bin/anvil' >/dev/null; then
		echo 'npm brought no anvil for this platform: see anvil-fixtures/README.md' >&2
		exit 1
	fi
	touch $@

.PHONY: node
node:
	@for program in node npm; do
		command -v $$program >/dev/null || { echo "$$program is missing: install Node.js $(NODE_MAJOR) or newer, with npm" >&2; exit 1; }
	done
	node -e 'process.exit(process.versions.node.split(".")[0] >= $(NODE_MAJOR) ? 0 : 1)' ||
		{ echo "Node.js $$(node --version) is too old: $(NODE_MAJOR) or newer is needed" >&2; exit 1; }

.PHONY: postgres
postgres: ## Make sure that PostgreSQL's programs are there; as root on Debian, install them
	@.ci/postgres

.PHONY: prometheus
prometheus: ## Make sure that Prometheus and promtool are there; as root on Debian, install them
	@.ci/prometheus

.PHONY: chromium
chromium: ## Make sure that Chromium is there; as root on Debian, install it
	@.ci/chromium

# The same version everywhere, whatever else is installed; about three minutes on two cores, once.
.tools/bin/cargo-deny:
	@cargo install --locked --version $(CARGO_DENY_VERSION) --root .tools cargo-deny

.PHONY: clean
clean: ## Remove everything that was built or installed here
	@cargo clean
	rm -rf anvil-fixtures/node_modules .tools
