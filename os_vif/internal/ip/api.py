# SPDX-License-Identifier: Apache-2.0
"""``ip``: make, change and delete network devices, in the calling process and its network
namespace."""

import sys

from os_vif.internal.ip import ip_command
from os_vif.internal.ip.linux import impl_pyroute2

#: What to call. Elsewhere than on Linux each method raises NotImplementedForOS.
ip: ip_command.IpCommand = (
    impl_pyroute2.PyRoute2() if sys.platform.startswith("linux") else ip_command.IpCommand()
)
