# The commands of the README. `make test` is what CI runs.
.PHONY: build demo test lint fuzz bench

build:
	cargo build --release --locked -p obol

demo:
	@cargo run --profile demo --locked -p obol -- demo $(ARGS)

test:
	cargo test --workspace --locked

lint:
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml > /dev/null
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo check --locked -p obol
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Each parser for SECONDS; TARGET=paths for one of them.
SECONDS ?= 60
TARGET ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "make fuzz needs cargo-fuzz: cargo install --locked cargo-fuzz"; exit 1; }
	@rustc +nightly --version >/dev/null 2>&1 || \
		{ echo "make fuzz needs a nightly compiler: rustup toolchain install nightly"; exit 1; }
	cargo run --locked --manifest-path fuzz/Cargo.toml --bin seeds
	for target in $(TARGET); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS) -rss_limit_mb=2048 || exit 1; done

# ARGS='--only challenge,gas' measures some.
bench:
	@cargo build --release --locked -p obol
	@cargo run --release --locked -p obol-benches -- $(ARGS)
