# The commands of this repository; `make` alone lists them. Each is a script in .ci/.

.DEFAULT_GOAL := help
.PHONY: help doctor demo test bench check fmt clippy clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

doctor: ## is everything here that building needs? for what is missing, the command that mends it
	@.ci/doctor
