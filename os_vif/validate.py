# SPDX-License-Identifier: Apache-2.0
"""What the kernel takes as a name, a MAC address and an MTU.

Checked where a request comes in, and once more on the privileged side, which trusts nobody.
"""

import re
from typing import Any

from os_vif.exception import InvalidValue

#: Bytes of a device name, less the closing NUL (``IFNAMSIZ`` in linux/if.h).
NAME_LENGTH = 15
#: Bytes of an id: behind the words of a mark it must fit into an alias (256, IFALIASZ in
#: linux/if.h).
ID_LENGTH = 192
#: Bytes of a file's name, less the closing NUL (PATH_MAX in linux/limits.h).
PATH_LENGTH = 4095
#: Characters of a wrong value that an error shows.
SHOWN = 60
#: The smallest datagram that IPv4 hosts must forward unfragmented (RFC 791).
MTU_MIN = 68
#: The largest MTU that bridges and veth pairs take (``ETH_MAX_MTU`` in linux/if_ether.h).
MTU_MAX = 65535

#: The last VLAN that is one (IEEE 802.1Q).
VLAN_MAX = 4094

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def required(field: str, value: Any) -> Any:
    """Check that there is a value, and return it.

    :param field: what to call it in the error.
    :raises InvalidValue: it is None or empty.
    """
    if value in (None, ""):
        raise InvalidValue(field=field, value=value, reason="it is not set")
    return value


def text(field: str, value: str, length: int = ID_LENGTH) -> str:
    """Check text that goes into the database of Open vSwitch, or into a link's alias.

    :param length: bytes in UTF-8 that it may have.
    :raises InvalidValue: it is longer, or has a control character or half a character.
    """
    if not value.isprintable():
        raise InvalidValue(
            field=field, value=ascii(value)[:SHOWN], reason="characters in it cannot be printed"
        )
    if len(value.encode()) > length:
        raise InvalidValue(
            field=field, value=f"{value[:SHOWN]}...", reason=f"longer than {length} bytes"
        )
    return value


def optional_text(field: str, value: str | None, length: int = ID_LENGTH) -> str | None:
    """As :func:`text`, of a value that may not be set."""
    return value and text(field, value, length)


def device_name(field: str, value: object) -> str:
    """Check a network device's name by the kernel's rule (``dev_valid_name``).

    :param field: what to call the value in the error.
    :raises InvalidValue: with field, value and the broken rule.
    """
    if not isinstance(value, str) or not value:
        raise InvalidValue(field=field, value=value, reason="it must be a name")
    if value in (".", "..") or not value.isprintable() or re.search(r"[/:%\s]", value):
        raise InvalidValue(  # the kernel takes "%" for a template and makes up another name
            field=field, value=value, reason="'/', ':', '%' and blanks cannot be in it"
        )
    if len(value.encode()) > NAME_LENGTH:
        raise InvalidValue(field=field, value=value, reason=f"longer than {NAME_LENGTH} bytes")
    return value


def mac(field: str, value: object) -> str:
    """Check that a value is the MAC address of one interface; return it in lower case.

    :raises InvalidValue: it is not a MAC address, is all zeros, or a group address.
    """
    text = str(value).lower()
    if not _MAC.fullmatch(text):
        raise InvalidValue(field=field, value=value, reason="it must be a MAC address")
    if text == "00:00:00:00:00:00" or int(text[:2], 16) & 1:
        raise InvalidValue(
            field=field, value=value, reason="zero and group addresses are not an interface's"
        )
    return text


def vlan(field: str, value: object) -> int:
    """Check a VLAN's number (IEEE 802.1Q; 0 and 4095 are not VLANs).

    :raises InvalidValue: it is not a number from 1 to 4094.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= VLAN_MAX:
        raise InvalidValue(
            field=field, value=value, reason=f"a VLAN is a number from 1 to {VLAN_MAX}"
        )
    return value


def mtu(field: str, value: object) -> int:
    """Check an MTU in bytes.

    :raises InvalidValue: it is not a number from 68 to 65535.
    """
    if not isinstance(value, int) or not MTU_MIN <= value <= MTU_MAX:
        raise InvalidValue(
            field=field, value=value, reason=f"an MTU is from {MTU_MIN} to {MTU_MAX} bytes"
        )
    return value


def flag(field: str, value: object) -> bool:
    """Check that a value is true or false.

    :raises InvalidValue: it is neither, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise InvalidValue(field=field, value=value, reason="it must be true or false")
    return value


def count(field: str, value: object) -> int:
    """Check a number such as a sysctl or a time of a bridge.

    :raises InvalidValue: it is not a number from 0 to 1,000,000.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise InvalidValue(
            field=field, value=value, reason="it must be a number, and not negative"
        )
    return value
