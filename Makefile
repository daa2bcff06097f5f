# Telltale on Debian 12: git, make, python3 and python3-venv are all that is needed.
#
#   make run        install into .venv and serve on loopback ports, state in ./var
#   make test       install the tools of development too, and run all tests
#   make check      lint, format, types, import contracts
#   make bench      messages a second, against Postfix
#   make install    as root: /opt/telltale, /etc/telltale, systemd units (DESTDIR is honoured)
#   make uninstall  as root: removes them, but keeps configuration and state

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# More words for pytest, such as ARGS="tests/storage -x".
ARGS ?=

.PHONY: run test check bench docs install uninstall clean

run: $(VENV)/.installed
	@exec $(BIN)/telltale serve

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python bench/relay.py $(ARGS)

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/draw_status.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { echo "Telltale needs python3-venv: apt install python3-venv" >&2; exit 1; }

# The stamps make a second run start at once; pyproject.toml names what is to be installed.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Telltale into $(VENV) (a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Telltale and its tools of development into $(VENV) (a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

# --- installation -----------------------------------------------------------------------------------------

LIB := /opt/telltale
COMMAND := /usr/local/bin/telltale
ETC := /etc/telltale
STATE := /var/lib/telltale
UNITS := /etc/systemd/system
DOC := /usr/local/share/doc/telltale
# Into a DESTDIR nothing of this machine is touched: no user is made, and systemd is not asked.
HERE := $(if $(DESTDIR),,yes)
SYSTEMD := $(if $(HERE),$(wildcard /run/systemd/system))

install:
	@test -n "$(DESTDIR)" -o "$$(id -u)" = 0 || { echo "make install needs root: sudo make install" >&2; exit 1; }
ifdef HERE
	getent passwd telltale >/dev/null || useradd --system --user-group --home-dir $(STATE) --no-create-home \
		--shell /usr/sbin/nologin --comment "Telltale mail relay" telltale
endif
	rm -rf build
	umask 022; $(PYTHON) -m venv --clear $(DESTDIR)$(LIB).new
	umask 022; $(DESTDIR)$(LIB).new/bin/python -m pip install --quiet --disable-pip-version-check .
	rm -rf build telltale_relay.egg-info $(DESTDIR)$(LIB)
	mv $(DESTDIR)$(LIB).new $(DESTDIR)$(LIB)
	umask 022; install -d $(DESTDIR)$(dir $(COMMAND)) $(DESTDIR)$(ETC) $(DESTDIR)$(UNITS) $(DESTDIR)$(DOC)
	umask 022; printf '#!/bin/sh\nexec $(LIB)/bin/python -I -m telltale "$$@"\n' >$(DESTDIR)$(COMMAND)
	chmod 755 $(DESTDIR)$(COMMAND)
	install -m 644 systemd/* $(DESTDIR)$(UNITS)
	install -m 644 README.md CHANGELOG.md config.example.toml docs/*.md $(DESTDIR)$(DOC)
	test -e $(DESTDIR)$(ETC)/config.toml || { umask 022; \
		sed 's|^#state_dir = .*|state_dir = "$(STATE)"|' config.example.toml >$(DESTDIR)$(ETC)/config.toml; }
ifdef HERE
	chown root:telltale $(ETC)/config.toml && chmod 640 $(ETC)/config.toml
	install -d -m 700 -o telltale -g telltale $(STATE)
endif
ifneq ($(SYSTEMD),)
	systemctl daemon-reload
	systemctl try-restart 'telltale-*.service'
endif
	@echo "Telltale is installed. Set it up in $(ETC)/config.toml (telltale config check, telltale doctor),"
	@echo "then start it, now and at every boot: systemctl enable --now telltale.target"

uninstall:
	@test -n "$(DESTDIR)" -o "$$(id -u)" = 0 || { echo "make uninstall needs root: sudo make uninstall" >&2; exit 1; }
ifneq ($(SYSTEMD),)
	-systemctl disable --now telltale.target telltale-relay telltale-pixel telltale-report
endif
	rm -f $(addprefix $(DESTDIR)$(UNITS)/,$(notdir $(wildcard systemd/*))) $(DESTDIR)$(COMMAND)
	rm -rf $(DESTDIR)$(LIB) $(DESTDIR)$(DOC)
ifneq ($(SYSTEMD),)
	systemctl daemon-reload
endif
	@echo "Telltale is gone. Its configuration ($(ETC)) and its queue and log ($(STATE)) are kept;"
	@echo "to remove them too: rm -r $(ETC) $(STATE); userdel telltale"
