# hostnet: build, install, look at it, test it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build plugin guard install run test test-pure test-unit test-e2e test-vhost bench lint fmt clean

CARGO ?= cargo
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PLUGIN := $(TARGET)/release/hostnet_plugin.so
GUARD := $(TARGET)/release/hostnet-guard
SBINDIR ?= /usr/sbin
UNITDIR ?= /usr/lib/systemd/system

help: ## List the targets
	@echo 'hostnet: a VPP plugin that gives the Linux host its network back through VPP'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'VPP is looked for in $$VPP_PREFIX alone when that is set, else in /usr, /usr/local and /opt/vpp.'

build: plugin guard ## Build the plugin and its guard: target/release/hostnet_plugin.so, hostnet-guard

plugin: ## Build the plugin: target/release/hostnet_plugin.so
	@tests/find-vpp >/dev/null
	@tests/setup build
	$(CARGO) build --release --locked
	@cp -f $(TARGET)/release/libhostnet.so $(PLUGIN)
	@echo 'built $(PLUGIN)'

# By a profile of its own, which has a folder of its own: without VPP the
# library is another one, and the plugin's must stay.
guard: ## Build hostnet-guard, which needs no VPP: target/release/hostnet-guard
	$(CARGO) build --profile guard --locked --no-default-features --features guard --bin hostnet-guard
	@mkdir -p $(dir $(GUARD))
	@cp -f $(TARGET)/guard/hostnet-guard $(GUARD)
	@echo 'built $(GUARD)'

install: build ## Install the plugin where the VPP that was found looks, the guard and its unit (DESTDIR is honoured)
	@dir="$(DESTDIR)$$(tests/find-vpp lib)/vpp_plugins"; \
	install -D -m 0644 $(PLUGIN) "$$dir/hostnet_plugin.so"; \
	echo "installed $$dir/hostnet_plugin.so"
	@install -D -m 0755 $(GUARD) "$(DESTDIR)$(SBINDIR)/hostnet-guard"
	@echo "installed $(DESTDIR)$(SBINDIR)/hostnet-guard"
	@unit="$(DESTDIR)$(UNITDIR)/vpp.service.d/hostnet.conf"; \
	mkdir -p "$${unit%/*}"; \
	sed 's|/usr/sbin/|$(SBINDIR)/|' systemd/vpp.service.d/hostnet.conf >"$$unit"; \
	chmod 0644 "$$unit"; \
	echo "installed $$unit"

run: ## A lab in network namespaces with the plugin at work, until Ctrl-C (ONCE=1: check and end)
	@if [[ -n "$${VPP_PREFIX:-}" ]]; then tests/find-vpp >/dev/null; \
	else tests/find-vpp >/dev/null 2>&1 || tests/setup vpp; fi
	@tests/setup lab
	@$(MAKE) --no-print-directory build
	@$(CARGO) build --quiet --locked -p hostnet-lab --bin lab
	@export VPP_PREFIX="$$(tests/find-vpp)" HOSTNET_PLUGIN="$$(realpath $(PLUGIN))" ONCE='$(ONCE)'; \
	exec $(TARGET)/debug/lab

test: ## Every suite; the last line is: N passed, N failed, N skipped
	@tests/run pure unit e2e vhost

test-pure: ## The suite that needs no VPP
	@tests/run pure

test-unit: ## The unit tests that link VPP
	@tests/run unit

test-e2e: ## End to end on this machine, with our own TAP driver
	@tests/run e2e

test-vhost: ## End to end with vhost-net, in an emulated machine where this one has none
	@tests/run vhost

bench: ## How fast VPP has the kernel's routes, beside how fast it takes routes at all
	@tests/setup build lab
	@$(MAKE) --no-print-directory plugin
	@export VPP_PREFIX="$$(tests/find-vpp)" HOSTNET_PLUGIN="$$(realpath $(PLUGIN))"; \
	$(CARGO) bench --locked --profile dev -p hostnet-lab --bench mirror

lint: ## Formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --no-default-features --exclude vpp-sys --all-targets -- -D warnings
	@if tests/find-vpp >/dev/null 2>&1; then set -x; \
		$(CARGO) clippy --locked --workspace --all-targets -- -D warnings; \
		$(CARGO) clippy --locked --all-targets --features faults -- -D warnings; \
	else echo 'VPP is not installed: the rooms that need it are left out'; fi

fmt: ## Format the code
	$(CARGO) fmt --all

clean: ## Remove everything that was built
	$(CARGO) clean
