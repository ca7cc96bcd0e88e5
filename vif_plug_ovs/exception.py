# SPDX-License-Identifier: Apache-2.0
"""What the plugin raises besides :mod:`os_vif.exception` and :mod:`os_vif.wiring.errors`."""

from os_vif.exception import ExceptionBase


class MissingPortProfile(ExceptionBase):
    code = "bad_input"
    msg_fmt = "The VIF has no port profile (vif.port_profile is not set)"


class WrongPortProfile(ExceptionBase):
    code = "bad_input"
    msg_fmt = "vif.port_profile is a %(profile)s; this plugin needs a VIFPortProfileOpenVSwitch"


class TapCreationNotSupported(ExceptionBase):
    code = "bad_input"
    msg_fmt = "vif.port_profile.create_tap is set, but a %(vif_type)s has no tap that os-vif makes"


class RepresentorNotFound(ExceptionBase):
    code = "not_found"
    msg_fmt = "No representor of VF %(vf_num)s was found for the interface %(ifname)s"


class AmbiguousRepresentor(RepresentorNotFound):
    """Nothing tells which of some devices is the representor, and guessing would join strangers.

    :param candidates: their names.
    """

    msg_fmt = (
        "The switch of the interface %(ifname)s has more than one VF %(vf_num)s and nothing tells "
        "their representors apart; candidates: %(candidates)s"
    )


class PciDeviceNotFoundById(ExceptionBase):
    code = "not_found"
    msg_fmt = "There is no PCI device %(id)s"


class NotVirtualFunction(PciDeviceNotFoundById):
    msg_fmt = "The PCI device %(id)s is not a virtual function of SR-IOV"


class NoInterfaceOfPciDevice(PciDeviceNotFoundById):
    msg_fmt = "The PCI device %(id)s has no network device of its own"


class AgentError(ExceptionBase):
    code = "internal"
    msg_fmt = "%(method)s failed"
