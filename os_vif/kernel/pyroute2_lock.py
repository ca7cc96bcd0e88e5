# SPDX-License-Identifier: Apache-2.0
"""The lock that keeps callers of pyroute2 apart.

pyroute2 0.9 runs an event loop inside its calls: of two greenthreads of an eventlet process that
are in it at once, one fails ("event loop is already running"). It is imported under the lock as
well: Python lets the greenthreads of a process into a module that one of them is still importing,
and the import of pyroute2 0.8 switches greenthreads.
"""

import threading

pyroute2_lock = threading.Lock()
