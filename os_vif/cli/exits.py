# SPDX-License-Identifier: Apache-2.0
"""Exit statuses of the command line, and which error leads to which."""

from collections.abc import Mapping
from enum import IntEnum

from os_vif.exception import ExceptionBase, PlugException, QueryFailed, UnplugException


class Exit(IntEnum):
    """What an exit status says to a script: see :data:`os_vif.cli.app.EXIT_STATUS`."""

    GOOD = 0
    FINDINGS = 1
    USAGE = 2
    HOST_NOT_READY = 3
    OUTCOME_UNKNOWN = 4


#: For each code of an error: see :data:`os_vif.exception.CODES`.
OF_CODE: Mapping[str, Exit] = {
    "bad_input": Exit.USAGE,
    "contradiction": Exit.FINDINGS,
    "deadline": Exit.HOST_NOT_READY,
    "host_changed": Exit.HOST_NOT_READY,
    "internal": Exit.HOST_NOT_READY,
    "no_plugin": Exit.USAGE,
    "not_connected": Exit.HOST_NOT_READY,
    "not_found": Exit.FINDINGS,
    "not_ready": Exit.FINDINGS,
    "not_supported": Exit.USAGE,
    "outcome_unknown": Exit.OUTCOME_UNKNOWN,
    "plugin_not_loaded": Exit.HOST_NOT_READY,
    "refused": Exit.HOST_NOT_READY,
    "switch_error": Exit.FINDINGS,
}


class Failure(Exception):
    """What a command ends with: a text for the person, and the exit status."""

    def __init__(self, text: str, exit_status: Exit = Exit.USAGE) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def code_of(error: BaseException) -> str:
    """Return the code of what a verb raised."""
    return error.code if isinstance(error, ExceptionBase) else "internal"


def of_error(error: BaseException | None) -> Exit:
    """Return the exit status for what a verb raised; None for nothing."""
    if error is None:
        return Exit.GOOD
    if isinstance(error, Failure):
        return error.exit_status
    return OF_CODE.get(code_of(error), Exit.HOST_NOT_READY)


def cause_of(error: BaseException) -> BaseException:
    """Return what a verb's error is about: its wrapper repeats the VIF as a whole."""
    wraps = isinstance(error, PlugException | UnplugException | QueryFailed)
    return error.__cause__ if wraps and error.__cause__ is not None else error
