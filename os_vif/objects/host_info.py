# SPDX-License-Identifier: Apache-2.0
"""What a host can plug, so that another can send it VIFs in versions that it understands.

::

    HostInfo
    └── HostPluginInfo               per plugin
        └── HostVIFInfo              per class of VIF: versions from - to
            └── HostPortProfileInfo  per class of port profile: versions from - to
"""

from collections.abc import Collection

from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields

from os_vif import exception, objects
from os_vif.objects import base


@base.VersionedObjectRegistry.register
class HostPortProfileInfo(
    base.VersionedObject, ovo_base.ComparableVersionedObject, base.VersionedObjectPrintableMixin
):
    """A class of port profile that a host takes."""

    VERSION = "1.0"

    #: Name of the class, as in ``VIFPortProfileOpenVSwitch``.
    profile_object_name: str
    #: The lowest version that the host takes.
    min_version: str
    #: The highest version that the host takes.
    max_version: str

    fields = {
        "profile_object_name": fields.StringField(),
        "min_version": fields.StringField(),
        "max_version": fields.StringField(),
    }

    def get_common_version(self) -> str:
        """Return the highest version that the host takes and this process can make.

        :raises NoMatchingPortProfileClass: the class is not known here.
        :raises NoSupportedPortProfileVersion: there is no such version.
        """
        return _common_version(
            self.profile_object_name,
            self.min_version,
            self.max_version,
            exception.NoMatchingPortProfileClass,
            exception.NoSupportedPortProfileVersion,
        )


@base.VersionedObjectRegistry.register
class HostVIFInfo(
    base.VersionedObject, ovo_base.ComparableVersionedObject, base.VersionedObjectPrintableMixin
):
    """A class of VIF that a host takes."""

    VERSION = "1.1"
    ADDED_IN = {"supported_port_profiles": "1.1"}

    #: Name of the class, as in ``VIFOpenVSwitch``.
    vif_object_name: str
    #: The lowest version that the host takes.
    min_version: str
    #: The highest version that the host takes.
    max_version: str
    #: The port profiles that the host takes with it; may be left unset.
    supported_port_profiles: list[HostPortProfileInfo]

    fields = {
        "vif_object_name": fields.StringField(),
        "min_version": fields.StringField(),
        "max_version": fields.StringField(),
        "supported_port_profiles": fields.ListOfObjectsField("HostPortProfileInfo"),
    }

    def get_common_version(self) -> str:
        """Return the highest version that the host takes and this process can make.

        :raises NoMatchingVIFClass: the class is not known here.
        :raises NoSupportedVIFVersion: there is no such version.
        """
        return _common_version(
            self.vif_object_name,
            self.min_version,
            self.max_version,
            exception.NoMatchingVIFClass,
            exception.NoSupportedVIFVersion,
        )

    def has_port_profile(self, name: str) -> bool:
        """Return whether the host takes a class of port profile with this VIF."""
        return name in self._port_profiles()

    def get_port_profile(self, name: str) -> HostPortProfileInfo:
        """Return what the host says of a class of port profile.

        :raises NoMatchingPortProfileClass: the host does not take it with this VIF.
        """
        try:
            return self._port_profiles()[name]
        except KeyError:
            raise exception.NoMatchingPortProfileClass(name=name) from None

    def _port_profiles(self) -> dict[str, HostPortProfileInfo]:
        if "supported_port_profiles" not in self:
            return {}
        return {info.profile_object_name: info for info in self.supported_port_profiles}


@base.VersionedObjectRegistry.register
class HostPluginInfo(
    base.VersionedObject, ovo_base.ComparableVersionedObject, base.VersionedObjectPrintableMixin
):
    """A plugin of a host."""

    VERSION = "1.0"

    #: Name of the plugin: what ``vif.plugin`` must be.
    plugin_name: str
    #: The classes of VIF that it takes.
    vif_info: list[HostVIFInfo]

    fields = {
        "plugin_name": fields.StringField(),
        "vif_info": fields.ListOfObjectsField("HostVIFInfo"),
    }

    def has_vif(self, name: str) -> bool:
        """Return whether the plugin takes a class of VIF."""
        return any(info.vif_object_name == name for info in self.vif_info)

    def get_vif(self, name: str) -> HostVIFInfo:
        """Return what the plugin says of a class of VIF.

        :raises NoMatchingVIFClass: it does not take it.
        """
        for info in self.vif_info:
            if info.vif_object_name == name:
                return info
        raise exception.NoMatchingVIFClass(name=name)

    def filter_vif_types(self, permitted_vif_type_names: Collection[str]) -> None:
        """Keep some classes of VIF only.

        :param permitted_vif_type_names: the names of the classes to keep.
        """
        self.vif_info = [
            info for info in self.vif_info if info.vif_object_name in permitted_vif_type_names
        ]


@base.VersionedObjectRegistry.register
class HostInfo(
    base.VersionedObject, ovo_base.ComparableVersionedObject, base.VersionedObjectPrintableMixin
):
    """A host: what :func:`os_vif.host_info` returns."""

    VERSION = "1.0"

    #: Its plugins.
    plugin_info: list[HostPluginInfo]

    fields = {
        "plugin_info": fields.ListOfObjectsField("HostPluginInfo"),
    }

    def has_plugin(self, name: str) -> bool:
        """Return whether the host has a plugin."""
        return any(info.plugin_name == name for info in self.plugin_info)

    def get_plugin(self, name: str) -> HostPluginInfo:
        """Return what the host says of a plugin.

        :raises NoMatchingPlugin: it does not have it.
        """
        for info in self.plugin_info:
            if info.plugin_name == name:
                return info
        raise exception.NoMatchingPlugin(plugin_name=name)

    def filter_vif_types(self, permitted_vif_type_names: Collection[str]) -> None:
        """Keep some classes of VIF only, and the plugins that are left with any.

        :param permitted_vif_type_names: the names of the classes to keep.
        """
        # A plugin may hand out the same description each time, so it is not changed.
        copies = [info.obj_clone() for info in self.plugin_info]
        for info in copies:
            info.filter_vif_types(permitted_vif_type_names)
        self.plugin_info = [info for info in copies if info.vif_info]


def _common_version(
    name: str,
    min_version: str,
    max_version: str,
    no_class: type[exception.ExceptionBase],
    no_version: type[exception.ExceptionBase],
) -> str:
    """Return the highest version that lies in a range and that a class can be converted to.

    Every minor version up to the class's own can: objects convert down.
    """
    objects.register_all()
    classes = ovo_base.VersionedObjectRegistry.obj_classes().get(name)
    if not classes:
        raise no_class(name=name)
    made = sorted({version for cls in classes for version in _versions(cls.VERSION)})
    low, high = base.version_tuple(min_version), base.version_tuple(max_version)
    common = [version for version in made if low <= version <= high]
    if not common:
        raise no_version(
            name=name,
            got_versions=[_text(version) for version in made],
            min_version=min_version,
            max_version=max_version,
        )
    return _text(common[-1])


def _versions(latest: str) -> list[tuple[int, ...]]:
    major, minor = base.version_tuple(latest)[:2]
    return [(major, n) for n in range(minor + 1)]


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
