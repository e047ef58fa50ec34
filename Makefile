# The commands of this repository. `make run` and `make test` need nothing but a Rust toolchain:
# they set up the rest, are safe to run twice, and leave nothing running.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run cluster test fmt bench bench-micro bench-check bench-others fuzz soak clean-data clean-cluster

# Cargo prints warnings and errors only; the steps below say what is going on.
CARGO := cargo --quiet
DATA_DIR ?= ./parlance-data
# More flags for `parlance serve`, such as ARGS="--listen 0.0.0.0:9000 --log-level info".
ARGS ?=
# What the load generator does, such as BENCH="durable --seconds 60", or BENCH=across for one node
# beside three, BENCH=rows and BENCH=growth-history for the database, BENCH=attacks, BENCH=takeover; see
# benches/README.md.
BENCH ?= fanout
# What `make bench-micro` times (criterion's own arguments), and `make bench-check` counts: nothing for all
# parts, or names. `make bench-check BASELINE=write` makes its counts the baseline.
PARTS ?=
BASELINE ?=
# What make bench-others takes, such as OTHERS="--only nats,parlance --loads rooms-10".
OTHERS ?=
# What `make fuzz` runs: nothing for every target, or names, each for FUZZ_SECONDS (60).
TARGET ?=
# `make test WITHOUT=postgres` leaves out the tests that need PostgreSQL, and says so; WITHOUT=browser those
# that need Chromium and Node; WITHOUT=api those of the API that need schemathesis or Node; WITHOUT="postgres browser api"
# all three.
WITHOUT ?=

help:
	@echo "make run         build the server and start one node with its data in $(DATA_DIR)"
	@echo "make cluster     three nodes, PostgreSQL and a balancer on this machine"
	@echo "make test        set up what is missing, check everything, run every test"
	@echo "make fmt         format the code"
	@echo "make bench       load on a throwaway node (BENCH=\"durable --seconds 60\")"
	@echo "make bench-micro the time that each part of the server takes (PARTS=hub-push)"
	@echo "make bench-check the instructions that each part takes, against benches/baseline.json"
	@echo "make bench-others  the same load on NATS, ejabberd and Socket.IO (ROUNDS=1 SECONDS=8 for a look)"
	@echo "make fuzz        the fuzz targets (TARGET=\"frame gossip\" FUZZ_SECONDS=600)"
	@echo "make soak        the tests that take long, and every fuzz target for a minute"
	@echo "make clean-data  remove $(DATA_DIR)"
	@echo "make clean-cluster  remove what make cluster keeps"

run:
	@.ci/setup build
	@.ci/web try
	@echo "building the server (the first time takes some minutes)"
	@$(CARGO) build --release --locked -p parlance-node
	@echo "starting a node on $(DATA_DIR); Ctrl-C ends it"
	@exec target/release/parlance serve --data-dir "$(DATA_DIR)" --set log.level=warn $(ARGS)

cluster:
	@.ci/setup cluster
	@.ci/web try
	@echo "building the server and the terminal client (the first time takes some minutes)"
	@$(CARGO) build --release --locked -p parlance-node -p parlance-client
	@exec deploy/cluster.sh

test:
	@.ci/setup test $(WITHOUT)
	@.ci/check $(WITHOUT)

fmt:
	@cargo fmt --all

bench:
	@.ci/setup build
	@$(CARGO) build --release --locked -p parlance-node -p parlance-benches
	@.ci/bench $(BENCH)

bench-micro:
	@.ci/setup build
	@echo "building the parts (the first time takes some minutes)"
	@$(CARGO) bench --profile profiling --locked -p parlance-benches --bench parts -- $(PARTS)

bench-check:
	@.ci/setup bench-check
	@echo "building the parts (the first time takes some minutes)"
	@$(CARGO) bench --profile profiling --locked -p parlance-benches --bench parts -- check $(BASELINE) $(PARTS)

bench-others:
	@.ci/setup others
	@echo "building the server and the load generators (the first time takes some minutes)"
	@$(CARGO) build --release --locked -p parlance-node -p parlance-benches
	@benches/others.sh $(OTHERS)

fuzz:
	@.ci/setup fuzz
	@.ci/fuzz $(TARGET)

soak:
	@.ci/setup test $(WITHOUT)
	@.ci/setup image
	@.ci/setup fuzz
	@.ci/check soak $(WITHOUT)

clean-data:
	@if [ -e "$(DATA_DIR)/parlance.lock" ] && ! flock --nonblock "$(DATA_DIR)/parlance.lock" true; then \
	    echo "a node is running on $(DATA_DIR): stop it first"; exit 1; fi
	@if [ -e "$(DATA_DIR)" ] && [ ! -e "$(DATA_DIR)/parlance.lock" ]; then \
	    echo "$(DATA_DIR) is not the data directory of a node: nothing removed"; exit 1; fi
	@rm -rf -- "$(DATA_DIR)"
	@echo "$(DATA_DIR) is removed"

clean-cluster:
	@deploy/cluster.sh clean
