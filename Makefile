# The commands of the README. `make test` is what CI runs.
.PHONY: build demo test lint bench

build:
	cargo build --release --locked -p obol

demo:
	cargo run --release --locked -p obol -- demo $(ARGS)

test:
	cargo test --workspace --locked

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# ARGS='--only challenge,gas' measures some.
bench:
	cargo build --release --locked -p obol
	cargo run --release --locked -p obol-benches -- $(ARGS)
