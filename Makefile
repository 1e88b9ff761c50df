# The commands of this repository; `make` alone lists them. Each is a script in .ci/.

.DEFAULT_GOAL := help
.PHONY: help doctor demo test chaos bench bench-peers profile check fmt clippy clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

doctor: ## is everything here that building needs? for what is missing, the command that mends it
	@.ci/doctor

demo: ## real data through the log, in this process and through the broker
	@.ci/demo

test: ## build, and run the tests of every language whose compiler is here
	@.ci/doctor
	@.ci/test

chaos: ## real processes killed at random for five minutes, and nothing may be lost
	@.ci/doctor
	@.ci/chaos

bench: ## records per second, latency and memory on this machine, beside the floors, the budgets, NATS and Redis
	@.ci/doctor
	@.ci/bench

bench-peers: ## clients of Kafka against our broker, Apache Kafka and librdkafka's mock cluster (a JDK and Maven are needed)
	@.ci/doctor
	@.ci/bench-peers

profile: ## instructions that a record costs, by function (valgrind)
	@.ci/doctor
	@.ci/profile

check: ## all that must pass before a change lands: format, lints, licences, tests, examples
	@.ci/run

fmt: ## format the sources
	@.ci/run --fix

clippy: ## the lints, as errors
	@.ci/steps/clippy

clean: ## remove what building made (.tools, the toolchains, is kept)
	@.ci/clean
