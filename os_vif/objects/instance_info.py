# SPDX-License-Identifier: Apache-2.0
"""The virtual machine that a VIF belongs to."""

from oslo_versionedobjects import fields

from os_vif.objects import base


@base.VersionedObjectRegistry.register
class InstanceInfo(base.VersionedObject):
    """A virtual machine, as the verbs need to know it."""

    VERSION = "1.0"

    #: Nova's id of it; Open vSwitch ports carry it as ``external_ids:vm-uuid``.
    uuid: str
    #: Its name at the hypervisor.
    name: str
    #: Keystone's id of the project that owns it.
    project_id: str

    fields = {
        "uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "project_id": fields.StringField(),
    }
