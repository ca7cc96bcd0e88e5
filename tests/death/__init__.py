# SPDX-License-Identifier: Apache-2.0
"""A verb's process, and its privileged helper, are killed at every system call with effects.

``tools/private-namespace python -m tests.death``; see ``__main__``.
"""
