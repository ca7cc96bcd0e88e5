# SPDX-License-Identifier: Apache-2.0
"""Everything that os-vif raises on purpose.

::

    ExceptionBase
    ├── LibraryNotInitialized          a verb before os_vif.initialize()
    ├── ExternalImport                 a module that is internal to os-vif was imported elsewhere
    ├── InvalidValue                   a field holds what it must not hold
    ├── PlugException                  os_vif.plug() failed; __cause__ tells why
    ├── UnplugException                os_vif.unplug() failed; __cause__ tells why
    ├── NoMatchingPlugin               no plugin of that name is installed
    │   └── PluginLoadFailed           it is installed, and could not be loaded
    ├── NoMatchingVIFClass             a plugin does not plug that VIF class, or nobody knows it
    ├── NoMatchingPortProfileClass     as NoMatchingVIFClass, of a port profile class
    ├── NoSupportedVIFVersion          two sides share no version of a VIF class
    ├── NoSupportedPortProfileVersion  two sides share no version of a port profile class
    ├── NetworkMissingPhysicalNetwork  the network has no physical network
    ├── NetworkInterfaceNotFound       no such device on this host
    ├── NetworkInterfaceTypeNotDefined no such kind of device
    └── NotImplementedForOS            not on this operating system

A plugin derives its own from ExceptionBase and gives them a ``msg_fmt``.
"""

import copyreg
from typing import Any, ClassVar, Self


class ExceptionBase(Exception):
    """Parent of all exceptions of os-vif and of its plugins.

    Its text is the only positional argument (``args``), so that ``type(e)(*e.args)``, which is how
    oslo.privsep carries an exception from its daemon to the caller, reads the same.
    """

    #: The text, a template for ``%`` whose keywords the constructor takes.
    msg_fmt: ClassVar[str] = "An unknown exception occurred."

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        """
        :param message: a text to use as it is, instead of ``msg_fmt``.
        :param kwargs: the keywords of ``msg_fmt``, kept as the attribute ``kwargs``. If one is
            missing, the text is the template: that must not hide what went wrong.
        """
        self.kwargs = kwargs
        super().__init__(str(self._filled() if message is None else message))

    def _filled(self) -> str:
        try:
            return self.msg_fmt % self.kwargs
        except (KeyError, TypeError, ValueError):
            return self.msg_fmt

    def format_message(self) -> str:
        """Return the text, as ``str()`` does."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # A keyword may hold anything (a VIF, a foreign exception) that does not survive pickling;
        # and the constructor of a subclass may not take our args: so neither is relied upon.
        state = {**self.__dict__, "kwargs": {k: _plain(v) for k, v in self.kwargs.items()}}
        return copyreg.__newobj__, (type(self), *self.args), state  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else str(value)


class LibraryNotInitialized(ExceptionBase):
    """A verb was called before :func:`os_vif.initialize`."""

    msg_fmt = "Before using the os_vif library, you need to call os_vif.initialize()"


class ExternalImport(ExceptionBase):
    """A module that is internal to os-vif was imported by others. No longer raised."""

    msg_fmt = "This module is for the use of os-vif only"


class InvalidValue(ExceptionBase):
    """An object that was handed in holds a value that cannot be used, or lacks one.

    :param field: the field, as in ``vif.network.bridge``.
    :param value: what it holds; None if it is not set.
    :param reason: what is wrong with that.
    """

    msg_fmt = "Invalid value of %(field)s, %(value)r: %(reason)s"


class PlugException(ExceptionBase):
    """A VIF could not be plugged; the host is as it was before, unless the error says otherwise.

    :param vif: the VIF.
    :param err: what went wrong.
    """

    msg_fmt = "Failed to plug VIF %(vif)s. Got error: %(err)s"


class UnplugException(ExceptionBase):
    """A VIF could not be unplugged.

    :param vif: the VIF.
    :param err: what went wrong.
    """

    msg_fmt = "Failed to unplug VIF %(vif)s. Got error: %(err)s"


class NoMatchingPlugin(ExceptionBase):
    """There is no plugin of that name.

    :param plugin_name: the name that was asked for, from ``vif.plugin``.
    """

    msg_fmt = "No VIF plugin was found with the name %(plugin_name)s"


class PluginLoadFailed(NoMatchingPlugin):
    """A plugin of that name is installed but could not be loaded.

    :param plugin_name: its name.
    :param cause: why.
    """

    msg_fmt = "The VIF plugin %(plugin_name)s is installed but could not be loaded: %(cause)s"


class NoMatchingVIFClass(ExceptionBase):
    """A plugin does not plug VIFs of that class, or nobody knows it.

    :param name: the name, as in ``VIFOpenVSwitch``.
    """

    msg_fmt = "No VIF class was found with the name %(name)s"

    @classmethod
    def by_plugin(cls, plugin: str, name: str) -> Self:
        """Return the error of a plugin that does not plug VIFs of a class."""
        return cls(f"The plugin {plugin} does not plug VIFs of class {name}", name=name)


class NoMatchingPortProfileClass(ExceptionBase):
    """A host does not take that class of port profile with a VIF, or nobody knows it.

    :param name: the name, as in ``VIFPortProfileOpenVSwitch``.
    """

    msg_fmt = "No port profile class was found with the name %(name)s"


class NoSupportedVIFVersion(ExceptionBase):
    """No version of a VIF class is known to both sides.

    :param name: the VIF class.
    :param got_versions: the versions known here.
    :param min_version: the lowest version the other side takes.
    :param max_version: the highest version the other side takes.
    """

    msg_fmt = (
        "No version of VIF class %(name)s suits both sides: "
        "wanted %(min_version)s to %(max_version)s, got %(got_versions)s"
    )


class NoSupportedPortProfileVersion(ExceptionBase):
    """No version of a port profile class is known to both sides.

    :param name: the port profile class.
    :param got_versions: the versions known here.
    :param min_version: the lowest version the other side takes.
    :param max_version: the highest version the other side takes.
    """

    msg_fmt = (
        "No version of port profile class %(name)s suits both sides: "
        "wanted %(min_version)s to %(max_version)s, got %(got_versions)s"
    )


class NetworkMissingPhysicalNetwork(ExceptionBase):
    """A network that needs one has no physical network.

    :param network_uuid: the network.
    """

    msg_fmt = "Physical network is missing for network %(network_uuid)s"


class NetworkInterfaceNotFound(ExceptionBase):
    """There is no such network device.

    :param interface: its name.
    """

    msg_fmt = "Network interface %(interface)s not found"


class NetworkInterfaceTypeNotDefined(ExceptionBase):
    """A network device of an unknown kind was to be made.

    :param type: the kind.
    """

    msg_fmt = "Network interface type %(type)s not defined"


class NotImplementedForOS(ExceptionBase):
    """This operating system cannot do that.

    :param function: what was asked for.
    :param os: the operating system.
    """

    msg_fmt = "Function %(function)s is not implemented for %(os)s"
