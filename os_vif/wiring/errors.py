# SPDX-License-Identifier: Apache-2.0
"""Why a wiring could not be applied or removed.

::

    ExceptionBase
    +-- WiringError
        +-- Contradiction       what is there contradicts the wiring; nothing was changed
        +-- NotAsDescribed      it was made so, and ovs-vswitchd could not work with it
        +-- LinkFailed          the kernel refused a step
        +-- NotConnected        the OVSDB server could not be reached in time
        +-- TransactionRefused  the OVSDB server refused the transaction
        +-- DeadlineExceeded    it did not happen in time
        |   +-- NotReady        a VIF is not attached, or not wired, in time
        +-- OutcomeUnknown      the server did not answer what was sent to it: try again
        |   +-- NotRolledBack   it failed, and not all that had been done could be rolled back
        +-- StateChanged        another process was faster; the engine looks again
"""

from os_vif.exception import ExceptionBase


class WiringError(ExceptionBase):
    """A wiring could not be applied or removed."""

    msg_fmt = "The wiring could not be changed"

    #: Of the steps for the kernel, how many were executed before it failed.
    executed: int = 0


class Contradiction(WiringError):
    code = "contradiction"
    msg_fmt = "What is on the host contradicts what is asked for; nothing was changed: %(report)s"


class NotAsDescribed(WiringError):
    code = "switch_error"
    msg_fmt = "The host is not as described: %(report)s"


class LinkFailed(WiringError):
    code = "refused"
    msg_fmt = "The kernel refused to %(reason)s"


class NotConnected(WiringError):
    code = "not_connected"
    retryable = True
    msg_fmt = "No connection to the OVSDB server at %(remote)s: %(reason)s"


class TransactionRefused(WiringError):
    code = "refused"
    msg_fmt = "The OVSDB server refused the transaction: %(reason)s"


class DeadlineExceeded(WiringError):
    code = "deadline"
    retryable = True
    msg_fmt = "Not done after %(seconds)s s: %(what)s"


class NotReady(DeadlineExceeded):
    code = "not_ready"
    msg_fmt = "Not %(until)s after %(seconds)s s: %(seen)s"


class OutcomeUnknown(WiringError):
    code = "outcome_unknown"
    retryable = True
    msg_fmt = (
        "The OVSDB server at %(remote)s stopped answering after the transaction was sent; "
        "whether it took effect is unknown: the same call again, or unplug, will settle it"
    )


class NotRolledBack(OutcomeUnknown):
    msg_fmt = "%(failure)s; %(reason)s"


class StateChanged(WiringError):
    code = "host_changed"
    retryable = True
    msg_fmt = "The host changed meanwhile: %(what)s"

    #: What is raised instead when it is the same after the last look.
    refusal: WiringError | None = None


def final(failure: Exception | None) -> Exception | None:
    """Return what is raised of a failure when nobody looks again."""
    refusal = failure.refusal if isinstance(failure, StateChanged) else None
    return refusal or failure
