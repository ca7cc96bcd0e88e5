# SPDX-License-Identifier: Apache-2.0
"""Options are listed without initialising anything, and are those of os-vif 5.x."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.opts import list_plugins_opts
from tests.compat import facts
from tests.unit.conftest import GOOD, Installed

FACTS = facts("options")

#: What os-vif 5.x does not have.
NEW = {
    "os_vif_ovs": {"verify_interface", "ssl_key_file", "ssl_cert_file", "ssl_ca_cert_file"},
    "os_vif_linux_bridge": set[str](),
}


def test_a_plugins_options_are_read_off_its_class(installed: Installed) -> None:
    installed.add("listed")
    (option,) = dict(list_plugins_opts())["os_vif_listed"]
    assert (option.name, type(option), option.default) == ("answer", cfg.IntOpt, 42)


def test_listing_initialises_and_registers_nothing(installed: Installed) -> None:
    installed.add("listed")
    list_plugins_opts()
    assert installed.plugin("listed").made == []
    assert "os_vif_listed" not in cfg.CONF
    with pytest.raises(exception.LibraryNotInitialized):
        os_vif.host_info()


def test_the_groups_come_in_order_and_once_each(installed: Installed) -> None:
    for name in ("zulu", "alpha", "mike"):
        installed.add(name)
    groups = [group for group, _ in list_plugins_opts()]
    assert groups == sorted(set(groups))
    assert {"os_vif_alpha", "os_vif_mike", "os_vif_zulu"} <= set(groups)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("raise ImportError('libfancy.so.3')", id="its import fails"),
        pytest.param("assert False, 'needs Linux 9'", id="its import asserts"),
        pytest.param("", id="it lacks the class"),
        pytest.param("Plugin = None", id="the class is none"),
        pytest.param("class Plugin: pass", id="it is no plugin"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_logged_and_left_out(
    installed: Installed, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    installed.add("abad", source)
    installed.add("good")
    groups = dict(list_plugins_opts())
    assert "os_vif_good" in groups
    assert "os_vif_abad" not in groups
    (record,) = (r for r in caplog.records if "abad" in r.getMessage())
    assert record.levelno == logging.WARNING


def test_a_listed_option_is_not_the_plugins_own_list(installed: Installed) -> None:
    installed.add("listed", GOOD.replace('(cfg.IntOpt("answer", default=42),)', "[]"))
    dict(list_plugins_opts())["os_vif_listed"].append("mine")
    assert dict(list_plugins_opts())["os_vif_listed"] == []


# The plugins of this repository, which is installed ---------------------------------------------


def described(option: Any) -> dict[str, Any]:
    """An option in the terms of the facts."""
    told: dict[str, Any] = {
        "name": option.name,
        "type": type(option).__name__,
        "default": option.default,
    }
    if option.deprecated_opts:
        told["deprecated"] = [[old.group, old.name] for old in option.deprecated_opts]
    if getattr(option.type, "choices", None):
        told["choices"] = list(option.type.choices)
    if option.deprecated_for_removal:
        told["deprecated_for_removal_since"] = option.deprecated_since
    return told


def known() -> list[Any]:
    """(group, fact) of every option."""
    return [
        pytest.param(group, fact, id=f"{group}.{fact['name']}")
        for group, options in FACTS.items()
        for fact in options
    ]


@pytest.mark.parametrize(("group", "fact"), known())
def test_an_option_is_as_it_was(group: str, fact: dict[str, Any]) -> None:
    options = {option.name: option for option in dict(list_plugins_opts())[group]}
    assert described(options[fact["name"]]) == fact


@pytest.mark.parametrize("group", FACTS)
def test_no_option_is_missing_or_unaccounted_for(group: str) -> None:
    names = {option.name for option in dict(list_plugins_opts())[group]}
    assert names == {fact["name"] for fact in FACTS[group]} | NEW.get(group, set())


def test_a_plug_is_verified_unless_that_is_switched_off() -> None:
    options = dict(list_plugins_opts())["os_vif_ovs"]
    (option,) = (one for one in options if one.name == "verify_interface")
    assert described(option) == {"name": "verify_interface", "type": "BoolOpt", "default": True}


def test_our_plugins_are_installed() -> None:
    assert {"os_vif_noop", *FACTS} <= set(dict(list_plugins_opts()))


def test_every_option_says_what_it_is_for() -> None:
    for group in FACTS:
        for option in dict(list_plugins_opts())[group]:
            assert option.help, f"{group}.{option.name}"


def test_the_sample_file_has_every_option_with_its_help() -> None:
    generator = Path(sys.executable).parent / "oslo-config-generator"
    done = subprocess.run(
        [generator, "--namespace", "os_vif"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be" not in done.stderr
    # Help is wrapped, also at hyphens, so it is compared by its letters.
    letters = "".join(done.stdout.replace("#", " ").split())
    for group, options in list_plugins_opts():
        if group in FACTS and options:
            assert f"[{group}]" in done.stdout
        for option in options if group in FACTS else ():
            assert f"#{option.name} =" in done.stdout
            assert "".join(option.help.split()) in letters
