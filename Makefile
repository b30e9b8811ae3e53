# What a newcomer and the CI do alike. Each target with a ## comment is in `make help`.

SERVERS := deploy/local/servers

.DEFAULT_GOAL := help
.PHONY: help deps up down status reset build demo demo-down lint test test-faults bench

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

test: up ## unit and property tests, and those against the real servers
	cargo build --workspace --bins --locked
	cargo test --workspace --locked --no-fail-fast

test-faults: deps ## the long runs: kills, frozen processes and outages under load
	cargo build --workspace --bins --locked
	cargo test -p tributary-tests --features faults --test faults --locked -- --test-threads=1 --nocapture

bench: build ## measure the hot paths and the whole product, into docs/benchmarks (options: BENCH="--quick", BENCH="--large", PEERS=1)
	$(if $(filter --large,$(BENCH)),,"$${CARGO_TARGET_DIR:-target}/release/hot_paths" $(filter --quick,$(BENCH)))
	PEERS="$(PEERS)" "$${CARGO_TARGET_DIR:-target}/release/end_to_end" $(BENCH)
