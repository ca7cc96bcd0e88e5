# SPDX-License-Identifier: Apache-2.0
"""What a verb did and how long it took, in one line of the log and for whoever registers.

The engine counts what it does in the tally of the verb that runs in its context (a thread, or a
greenthread); without one it counts nothing.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from oslo_log import log as logging

from os_vif.exception import ExceptionBase, NotSupported
from os_vif.objects.base import get
from os_vif.objects.vif import VIFBase

LOG = logging.getLogger(__name__)


@dataclass
class Tally:
    """What one verb has done so far."""

    #: How often it waited for ovs-vswitchd.
    waits: int = 0
    #: OVSDB transactions that it sent, shared ones too.
    transactions: int = 0
    #: Calls of a privileged daemon, shared ones too.
    privileged_calls: int = 0


@dataclass(frozen=True)
class Verb:
    """A verb that has ended.

    :param name: ``plug``, ``unplug``, ``plug_all``, ``unplug_all``, ``check``, ``wait``, ``list``,
        ``drawings``, ``gc`` or ``status``. Verbs that ask several plugins end once for each.
    :param plugin: the name of the plugin; empty where the VIF names none.
    :param vif_id: of the VIF; None where it has none, or not just one was given.
    :param kind: the VIF's class; empty where not just one VIF was given.
    :param seconds: how long it took.
    :param outcome: ``ok``, or the ``code`` of the error; see :data:`os_vif.exception.CODES`. Of
        several VIFs it is that of the last that failed; ``refused`` where gc could not remove one.
    :param vifs: how many VIFs were given, and 1 for verbs that take none: what was done was done
        for all of them together.
    """

    name: str
    plugin: str
    vif_id: str | None
    kind: str
    seconds: float
    outcome: str
    vifs: int = 1
    tally: Tally = field(default_factory=Tally)

    def __str__(self) -> str:
        tally = self.tally
        return (
            f"verb={self.name} plugin={self.plugin} vif={self.vif_id} kind={self.kind} "
            f"ms={1000 * self.seconds:.1f} waits={tally.waits} "
            f"transactions={tally.transactions} privileged_calls={tally.privileged_calls} "
            f"vifs={self.vifs} outcome={self.outcome}"
        )


Observer = Callable[[Verb], object]

_observers: tuple[Observer, ...] = ()
_registering = threading.Lock()
_tally: ContextVar[Tally | None] = ContextVar("os_vif_tally", default=None)
#: Whether an observer runs in this context.
_observing: ContextVar[bool] = ContextVar("os_vif_observing", default=False)


def observe(callback: Observer) -> Callable[[], None]:
    """Have a function called with each verb that has ended, in the thread that ran it.

    What it raises is logged and harms no verb, but for what interrupts the caller
    (KeyboardInterrupt, a greenthread's timeout); what it takes the verb's caller waits for. Verbs
    that an observer calls itself are not observed, nor are those that a plugin does not have.

    :returns: a function that ends it, and nothing else where a callback is registered twice.
    """
    if not callable(callback):
        raise TypeError(f"{callback!r} cannot be called")

    def registered(ended: Verb) -> None:
        callback(ended)

    def end() -> None:
        global _observers
        with _registering:
            _observers = tuple(one for one in _observers if one is not registered)

    global _observers
    with _registering:
        _observers = (*_observers, registered)
    return end


def count(what: str) -> None:
    """Count what the verb of this context does: a field of :class:`Tally`."""
    tally = _tally.get()
    if tally is not None:
        setattr(tally, what, getattr(tally, what) + 1)


@dataclass
class Running:
    """A verb that has not ended."""

    outcome: str = "ok"


def verb_for(name: str, vif: object) -> contextlib.AbstractContextManager[Running]:
    """Log the block as a verb for one VIF, which may be anything; see :func:`verb`."""
    if not isinstance(vif, VIFBase):
        return verb(name)
    return verb(name, get(vif, "plugin") or "", vif)


@contextlib.contextmanager
def verb(
    name: str, plugin: str = "", vif: VIFBase | None = None, vifs: int = 1
) -> Iterator[Running]:
    """Log the block as one verb, and call the observers. What it raises is its outcome."""
    running, tally, began = Running(), Tally(), time.monotonic()
    token = _tally.set(tally)
    try:
        yield running
    except BaseException as err:
        running.outcome = err.code if isinstance(err, ExceptionBase) else "internal"
        raise
    finally:
        _tally.reset(token)
        vif_id, kind = (None, "") if vif is None else (get(vif, "id"), vif.obj_name())
        seconds = time.monotonic() - began
        _report(Verb(name, plugin, vif_id, kind, seconds, running.outcome, vifs, tally))


def _report(ended: Verb) -> None:
    if ended.outcome == NotSupported.code:
        LOG.debug("%s", ended)
        return
    LOG.info("%s", ended)
    if not _observers or _observing.get():
        return
    token = _observing.set(True)
    try:
        for observer in _observers:
            _tell(observer, ended)
    finally:
        _observing.reset(token)


def _tell(observer: Observer, ended: Verb) -> None:
    try:
        observer(ended)
    except (Exception, SystemExit):
        LOG.exception("An observer of os-vif failed on %s", ended)
