# What a newcomer and the CI do alike. Each target with a ## comment is in `make help`.

SERVERS := deploy/local/servers

.DEFAULT_GOAL := help
.PHONY: help deps up down status reset build demo demo-down lint deny test test-faults soak fuzz bench

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deps: ## install what the build and the tests need (Debian packages, MySQL, Kafka), once a machine
	@$(SERVERS) install

up: ## start MySQL, Kafka and PostgreSQL for this checkout
	@$(SERVERS) up

down: ## stop them, keep their data
	@$(SERVERS) down

status: ## show their addresses, processes and logs
	@$(SERVERS) status

reset: ## stop them, delete their data
	@$(SERVERS) reset

build: deps ## build the release binaries, target/release/capture and target/release/apply
	cargo build --release --workspace --locked

demo: ## install, build, and watch the product at work on a sample shop, in a terminal (options: DEMO="--help")
	@demo/run $(DEMO)

demo-down: ## stop what the demo left running
	@"$${CARGO_TARGET_DIR:-target}/release/demo" down

lint: deps ## formatting, and clippy with every warning an error
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# Servers that did not run before are stopped again.
AROUND := deploy/local/around

deny: ## licences, doubled versions, sources and advisories of the dependencies (needs cargo-deny and the network)
	cargo deny check -D unmatched-skip

test: deps ## unit and property tests, and those against the real servers
	cargo build --workspace --bins --locked
	@$(AROUND) sh -c '$(SERVERS) up && cargo test --workspace --locked --no-fail-fast'

# The binaries that can be broken on purpose lie apart: what `make test` and a release build is never one of them.
PROFILE_DIR := $${CARGO_TARGET_DIR:-target}/debug
SABOTAGE := --features tributary-capture/sabotage,tributary-apply/sabotage

test-faults: deps ## the long runs: kills, frozen processes and outages under load (ROUNDS=30: so many kills of Kafka)
	cargo build --workspace --bin capture --bin apply $(SABOTAGE) --locked
	mkdir -p "$(PROFILE_DIR)/sabotage"
	cp -f "$(PROFILE_DIR)/capture" "$(PROFILE_DIR)/apply" "$(PROFILE_DIR)/sabotage/"
	cargo build --workspace --bins --locked
	@$(AROUND) cargo test -p tributary-tests --features faults --test faults --locked -- --test-threads=1 --nocapture

soak: deps ## servers that say nothing for minutes (SECONDS_FROZEN=60,200 for so long); SEEDS=100000: so many simulated schedules
ifdef SEEDS
	TRIBUTARY_SEEDS=$(SEEDS) cargo test --release -p tributary-capture --lib --locked -- --nocapture simulation
else
	cargo build --workspace --bins --locked
	cargo test -p tributary-tests --features soak --test soak --locked -- --nocapture
endif

fuzz: ## damaged binlog events, images, documents and records, many more than in the tests (options: CASES=1000000)
	PROPTEST_CASES=$${CASES:-1000000} cargo test --release -p tributary-capture -p tributary-topics -p tributary-warehouse \
	  -p tributary-verify --lib --locked -- damaged any_bytes

bench: build ## measure the hot paths and the whole product, into docs/benchmarks (options: BENCH="--quick", BENCH="--large", PEERS=1)
	$(if $(filter --large,$(BENCH)),,"$${CARGO_TARGET_DIR:-target}/release/hot_paths" $(filter --quick,$(BENCH)))
	PEERS="$(PEERS)" "$${CARGO_TARGET_DIR:-target}/release/end_to_end" $(BENCH)
