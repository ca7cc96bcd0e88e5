# SPDX-License-Identifier: Apache-2.0
"""Everything that os-vif raises on purpose.

::

    ExceptionBase
    ├── LibraryNotInitialized          a verb before os_vif.initialize()
    ├── ExternalImport                 a module that is internal to os-vif was imported elsewhere
    ├── InvalidValue                   a field holds what it must not hold
    ├── PlugException                  os_vif.plug() failed; __cause__ tells why
    ├── UnplugException                os_vif.unplug() failed; __cause__ tells why
    ├── QueryFailed                    check, wait, list, gc or status failed; see __cause__
    ├── NotSupported                   a plugin has no such verb
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
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

#: What ``code`` can be, and what it means.
CODES: Mapping[str, str] = {
    "bad_input": "a field or an option is missing or holds what it must not hold",
    "contradiction": "what is on the host contradicts what is asked for; nothing was changed",
    "deadline": "it was not done in time",
    "host_changed": "another process changed the same things all the time",
    "internal": "an error that os-vif does not know, of the daemon's or of another plugin's",
    "no_plugin": "the plugin is not installed, or the library is not initialized",
    "not_connected": "the OVSDB server cannot be reached",
    "not_found": "a device that the VIF names is not on this host",
    "not_ready": "a VIF is not attached, or not wired, in time",
    "not_supported": "the plugin has no such verb",
    "outcome_unknown": "whether it took effect, or all of it was rolled back, is not known",
    "plugin_not_loaded": "the plugin is installed and could not be loaded",
    "refused": "the kernel, iptables or the OVSDB server refused it",
    "switch_error": "ovs-vswitchd could not work with what was made",
}


class ExceptionBase(Exception):
    """Parent of all exceptions of os-vif and of its plugins.

    Its text is the only positional argument (``args``), so that ``type(e)(*e.args)``, which is how
    oslo.privsep carries an exception from its daemon to the caller, reads the same.
    """

    #: The text, a template for ``%`` whose keywords the constructor takes.
    msg_fmt: ClassVar[str] = "An unknown exception occurred."
    #: The kind of failure in one word, for programs; see :data:`CODES`.
    code: str = "internal"
    #: Whether the same call can succeed without anybody doing anything about the VIF or the host.
    retryable: bool = False

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

    @functools.cached_property  # which a plugin's error may set
    def element(self) -> str | None:
        """What it is about, where that is one thing: a field, or a link or row of the host, as in
        ``vif.address`` or ``OVS port tap1``."""
        kwargs = vars(self).get("kwargs", {})  # a subclass may not call our constructor
        element = kwargs.get("element", kwargs.get("field"))
        return None if element is None else str(element)

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

    code = "no_plugin"
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

    code = "bad_input"
    msg_fmt = "Invalid value of %(field)s, %(value)r: %(reason)s"


class PlugException(ExceptionBase):
    """A VIF could not be plugged; the host is as it was before, unless the error says otherwise.

    :param vif: the VIF.
    :param err: what went wrong.
    """

    msg_fmt = "Failed to plug VIF %(vif)s. Got error: %(err)s"

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        _take_after(self, kwargs.get("err"))


class UnplugException(ExceptionBase):
    """A VIF could not be unplugged.

    :param vif: the VIF.
    :param err: what went wrong.
    """

    msg_fmt = "Failed to unplug VIF %(vif)s. Got error: %(err)s"

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        _take_after(self, kwargs.get("err"))


def _take_after(error: ExceptionBase, cause: object) -> None:
    """Give the error of a verb what is known of its cause, even where that is not carried.

    A plugin's error may have attributes of these names that mean something else.
    """
    if not isinstance(cause, ExceptionBase):
        return
    if cause.code in list(CODES):
        error.code, error.retryable = cause.code, bool(cause.retryable)
    if isinstance(cause.element, str):
        error.kwargs.setdefault("element", cause.element)


class NotSupported(ExceptionBase):
    """A plugin has no such verb, as plugins of other distributions need not have.

    :param plugin: its name.
    :param verb: what was asked for, as in ``check``.
    """

    code = "not_supported"
    msg_fmt = "The VIF plugin %(plugin)s does not support %(verb)s"


class QueryFailed(ExceptionBase):
    """A verb that looks at the host (check, wait, list, gc, status) failed.

    :param verb: its name.
    :param plugin: the plugin that failed.
    :param err: what went wrong.
    """

    msg_fmt = "%(verb)s of the VIF plugin %(plugin)s failed: %(err)s"

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        _take_after(self, kwargs.get("err"))


class NoMatchingPlugin(ExceptionBase):
    """There is no plugin of that name.

    :param plugin_name: the name that was asked for, from ``vif.plugin``.
    """

    code = "no_plugin"
    msg_fmt = "No VIF plugin was found with the name %(plugin_name)s"


class PluginLoadFailed(NoMatchingPlugin):
    """A plugin of that name is installed but could not be loaded.

    :param plugin_name: its name.
    :param cause: why.
    """

    code = "plugin_not_loaded"
    msg_fmt = "The VIF plugin %(plugin_name)s is installed but could not be loaded: %(cause)s"


class NoMatchingVIFClass(ExceptionBase):
    """A plugin does not plug VIFs of that class, or nobody knows it.

    :param name: the name, as in ``VIFOpenVSwitch``.
    """

    code = "bad_input"
    msg_fmt = "No VIF class was found with the name %(name)s"

    @classmethod
    def by_plugin(cls, plugin: str, name: str) -> Self:
        """Return the error of a plugin that does not plug VIFs of a class."""
        return cls(f"The plugin {plugin} does not plug VIFs of class {name}", name=name)


class NoMatchingPortProfileClass(ExceptionBase):
    """A host does not take that class of port profile with a VIF, or nobody knows it.

    :param name: the name, as in ``VIFPortProfileOpenVSwitch``.
    """

    code = "bad_input"
    msg_fmt = "No port profile class was found with the name %(name)s"


class NoSupportedVIFVersion(ExceptionBase):
    """No version of a VIF class is known to both sides.

    :param name: the VIF class.
    :param got_versions: the versions known here.
    :param min_version: the lowest version the other side takes.
    :param max_version: the highest version the other side takes.
    """

    code = "bad_input"
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

    code = "bad_input"
    msg_fmt = (
        "No version of port profile class %(name)s suits both sides: "
        "wanted %(min_version)s to %(max_version)s, got %(got_versions)s"
    )


class NetworkMissingPhysicalNetwork(ExceptionBase):
    """A network that needs one has no physical network.

    :param network_uuid: the network.
    """

    code = "bad_input"
    msg_fmt = "Physical network is missing for network %(network_uuid)s"


class NetworkInterfaceNotFound(ExceptionBase):
    """There is no such network device.

    :param interface: its name.
    """

    code = "not_found"
    msg_fmt = "Network interface %(interface)s not found"


class NetworkInterfaceTypeNotDefined(ExceptionBase):
    """A network device of an unknown kind was to be made.

    :param type: the kind.
    """

    code = "bad_input"
    msg_fmt = "Network interface type %(type)s not defined"


class NotImplementedForOS(ExceptionBase):
    """This operating system cannot do that.

    :param function: what was asked for.
    :param os: the operating system.
    """

    code = "not_supported"
    msg_fmt = "Function %(function)s is not implemented for %(os)s"
