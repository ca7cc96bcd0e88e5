# SPDX-License-Identifier: Apache-2.0
"""Network devices of this host: see :mod:`os_vif.internal.ip.api`."""
