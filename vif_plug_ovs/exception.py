# SPDX-License-Identifier: Apache-2.0
"""What the plugin raises besides :mod:`os_vif.exception` and :mod:`os_vif.wiring.errors`."""

from os_vif.exception import ExceptionBase


class MissingPortProfile(ExceptionBase):
    msg_fmt = "The VIF has no port profile (vif.port_profile is not set)"


class WrongPortProfile(ExceptionBase):
    msg_fmt = "vif.port_profile is a %(profile)s; this plugin needs a VIFPortProfileOpenVSwitch"


class TapCreationNotSupported(ExceptionBase):
    msg_fmt = "vif.port_profile.create_tap is set, but a %(vif_type)s has no tap that os-vif makes"


class RepresentorNotFound(ExceptionBase):
    msg_fmt = "No representor of VF %(vf_num)s was found for the interface %(ifname)s"


class PciDeviceNotFoundById(ExceptionBase):
    msg_fmt = "There is no PCI device %(id)s"


class AgentError(ExceptionBase):
    msg_fmt = "%(method)s failed"
