# SPDX-License-Identifier: Apache-2.0
"""The command line: the verbs of the library for people and scripts (``os-vif[cli]``).

Modules of commands are imported when their command runs; ``cliff``, ``rich`` and ``graphviz`` are
imported nowhere else in the library.
"""
