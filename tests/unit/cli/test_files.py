# SPDX-License-Identifier: Apache-2.0
"""VIFs from files: as primitives, in YAML and JSON; what is wrong is told with line and field."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from os_vif import objects
from os_vif.cli import files
from os_vif.cli.exits import Exit, Failure
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase
from tests import vifs

objects.register_all()

PLAIN = """\
vif:
  type: VIFOpenVSwitch
  id: 8f6a1f6b-5d3c-4f4e-9d2c-3a1b2c3d4e5f
  address: 10:20:30:40:50:06
  plugin: ovs
  network:
    bridge: br-int
    mtu: 1450
    subnets:
    - cidr: 192.0.2.0/24
      dns: [192.0.2.53]
      ips: [{address: 192.0.2.7}]
  port_profile: {type: VIFPortProfileOpenVSwitch, create_port: true, datapath_type: null}
instance: {uuid: 3b2b0a9e-5d7c-4a52-9b57-6f1f3f0f7a11, name: instance-00000001}
"""


def read(tmp_path: Path, text: str, instance: InstanceInfo | None = None) -> list[files.Described]:
    path = tmp_path / "vif"
    path.write_text(text)
    return files.read([str(path)], instance)


def primitive(one: Any) -> Any:
    """Without the names of the fields that were set since, which a file does not tell."""
    if isinstance(one, dict):
        changes = "versioned_object.changes"
        return {key: primitive(value) for key, value in one.items() if key != changes}
    return [primitive(item) for item in one] if isinstance(one, list) else one


def test_plain_yaml(tmp_path: Path) -> None:
    (found,) = read(tmp_path, PLAIN)
    vif = found.vif
    assert isinstance(vif, objects.vif.VIFOpenVSwitch)
    assert (vif.address, vif.network.mtu) == ("10:20:30:40:50:06", 1450)
    assert (vif.port_profile.create_port, vif.port_profile.datapath_type) == (True, None)
    assert str(vif.network.subnets.objects[0].ips.objects[0].address) == "192.0.2.7"
    assert found.instance.name == "instance-00000001"
    assert "vif_name" not in vif


def test_a_field_is_found_again(tmp_path: Path) -> None:
    (found,) = read(tmp_path, PLAIN)
    assert found.place_of("vif.network.mtu").endswith(", line 8")
    assert found.place_of("vif.network.bridge_interface").endswith(", line 6")  # what holds it
    assert found.place_of("vif.vif_name").endswith(", line 1")


KINDS = (vifs.vif_open_vswitch, vifs.vif_bridge, vifs.vif_vhost_user, vifs.vif_host_device)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("make", KINDS)
def test_primitives(tmp_path: Path, make: Any, indent: int | str | None) -> None:
    vif: VIFBase = make()
    given, instance = vif.obj_to_primitive(), vifs.instance().obj_to_primitive()
    text = json.dumps([given, {"vif": given, "instance": instance}], indent=indent)
    alone, paired = read(tmp_path, text, vifs.instance(2))
    assert alone.instance.uuid == vifs.instance_id(2)
    for found in (alone, paired):
        assert primitive(found.vif.obj_to_primitive()) == primitive(given)
    assert primitive(paired.instance.obj_to_primitive()) == primitive(instance)


@pytest.mark.parametrize("text", [f"{PLAIN}---\n{PLAIN}", f"[{json.dumps({'type': 'VIFBase'})}]"])
def test_one_or_many(tmp_path: Path, text: str) -> None:
    assert len(read(tmp_path, text, vifs.instance())) == text.count("type: VIFOpenVSwitch") or 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(PLAIN))
    (found,) = files.read(["-"])
    assert found.place_of("vif") == "standard input, line 1"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "reason"),
    [
        ("mtu: 1450", "mtu: many", 8, "vif.network.mtu", "many"),
        ("mtu: 1450", "mtu: [1450]", 8, "vif.network.mtu", "single value"),
        ("mtu: 1450", "mut: 1450", 8, "vif.network.mut", "no such field; is mtu meant?"),
        ("mtu: 1450", "mtu: 1450\n    mtu: 1500", 9, "vif.network.mtu", "given twice"),
        ("10:20:30:40:50:06", "10:20:30", 4, "vif.address", "10:20:30"),
        ("8f6a1f6b-5d3c-4f4e-9d2c-3a1b2c3d4e5f", "null", 3, "vif.id", "cannot be None"),
        ("type: VIFOpenVSwitch", "type: VIFOpenVswitch", 2, "vif.type", "VIFOpenVSwitch"),
        ("  type: VIFOpenVSwitch\n", "", 1, "vif.type", "missing"),
        ("type: VIFOpenVSwitch", "type: InstanceInfo", 2, "vif.type", "is none"),
        ("true", "maybe", 13, "vif.port_profile.create_port", "maybe"),
        ("192.0.2.0/24", "192.0.2.0/240", 10, "vif.network.subnets[0].cidr", "240"),
        ("address: 192.0.2.7", "addres: x", 12, "vif.network.subnets[0].ips[0].addres", "address"),
        ("- cidr: 192.0.2.0/24\n", "  cidr: x\n", 10, "vif.network.subnets.cidr", "no such"),
        ("uuid:", "uid:", 14, "instance.uid", "uuid"),
        ("instance:", "instances:", 14, "instances", "vif and instance only"),
        ("instance: {", "instance: 7 #", 14, "instance", "a mapping"),
        ("instance: {", "#", 1, "vif", "instance is missing"),
        ("vif:\n", "vif: [\n", 2, "", ""),
        ("vif:\n", "vif: &a\n  port_profile: *a\n", 2, "vif.port_profile", "holds it"),
        ("  plugin: ovs", "  [plugin]: ovs", 5, "vif", "a key must be a word"),
        ("instance: {", "[instance]: {", 14, "vif", "a key must be a word"),
    ],
)
def test_what_is_wrong(
    tmp_path: Path, old: str, new: str, line: int, field: str, reason: str
) -> None:
    assert old in PLAIN
    with pytest.raises(Failure) as caught:
        read(tmp_path, PLAIN.replace(old, new))
    assert caught.value.exit_status is Exit.USAGE
    place, _, text = str(caught.value).removeprefix(f"{tmp_path}/vif, ").partition(": ")
    if field:
        assert (place, text.split(": ")[0]) == (f"line {line}", field)
    assert reason in text


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("version", "9.9", "known up to 1.0"),
        ("version", "new", "not a version"),
        ("namespace", "nova", "not of os_vif"),
        ("name", "VIFNone", "is none"),
        ("data", None, "a mapping"),
        ("other", 1, "no such key"),
    ],
)
def test_wrong_primitives(tmp_path: Path, key: str, value: object, reason: str) -> None:
    given = {**vifs.vif_bridge().obj_to_primitive(), f"versioned_object.{key}": value}
    with pytest.raises(Failure, match=reason):
        read(tmp_path, json.dumps(given))


@pytest.mark.parametrize("text", ["", "\n", "[]", "---\n---\n"])
def test_no_vif(tmp_path: Path, text: str) -> None:
    with pytest.raises(Failure, match="there is no VIF"):
        read(tmp_path, text)


def test_what_is_nested_without_end(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nested too deeply"):
        read(tmp_path, "[" * 100_000)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "none", "."):
        with pytest.raises(Failure, match=name):
            files.read([str(tmp_path / name)])
