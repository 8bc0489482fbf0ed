# Everything a newcomer needs: `make run` shows the gateway at work, `make test` proves it.
# Both set up what is missing on a Debian or Ubuntu that has make and Rust.

CARGO := cargo
export TOLLGATE_CACHE ?= $(HOME)/.cache/tollgate
# The table that the drills write.
DRILLS := $(or $(CARGO_TARGET_DIR),target)/tmp/drills.md

.PHONY: run test test-real drills budget bench bench-short release setup fmt

run: setup ## The gateway on the shipped routes.toml, with three instances that register themselves
	$(CARGO) run --locked -- demo

test: setup ## Format, lints, unit, integration and doc tests, and one round of each benchmark
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --locked
	$(CARGO) test --locked --bench '*'

test-real: setup ## What needs registry servers and clients of other languages; builds them once into $TOLLGATE_CACHE
	tests/servers/fetch.sh
	@rm -f $(DRILLS)
	$(CARGO) test --locked --test servers --test it -- --ignored --nocapture --test-threads=1
	@cat $(DRILLS)

drills: setup ## What a registry that changes, fails or comes back costs: outages of a minute, a table at the end
	tests/servers/fetch.sh
	@rm -f $(DRILLS)
	TOLLGATE_DRILL_SECONDS=60 $(CARGO) test --locked --test servers drills:: -- --ignored --nocapture --test-threads=1
	@cat $(DRILLS)

budget: setup ## Instructions and allocations a request, and memory, each held to its budget
	@.ci/setup python3:python3 valgrind:valgrind nginx:nginx openssl:openssl
	$(CARGO) build --release --locked -p tollgate -p bare
	benches/instructions/run.py
	benches/footprint/run.py --short

bench: setup ## Micro benchmarks of the hot path, then tollgate beside other gateways: half an hour
	@.ci/setup python3:python3
	$(CARGO) bench --locked
	$(CARGO) build --release --locked -p tollgate -p bare
	benches/compare/run.py

bench-short: setup ## Whether the comparison works, with the gateways that apt has; a minute, and its figures mean little
	@.ci/setup python3:python3
	$(CARGO) build --release --locked -p tollgate -p bare
	benches/compare/run.py --short

release: setup ## The real binary: fat LTO, target/release/tollgate
	$(CARGO) build --release --locked

fmt:
	$(CARGO) fmt

# pingora builds zlib-ng with cmake, and aws-lc with a C compiler.
setup:
	@.ci/setup cmake:cmake cc:gcc
