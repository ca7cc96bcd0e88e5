# SPDX-License-Identifier: Apache-2.0
"""The kernel's links and sysctls.

Only ``os_vif.internal.ip``, an old helper, speaks netlink besides.

``daemon``             the call of a plugin's privileged daemon, and links as the engine wants them
``observe``            read links; no privilege needed
``sysfs``              read-only facts about PCI functions and switch ports
``packing``            steps as they travel to the privileged daemon
``execute``            change links; runs inside a plugin's privileged daemon
``tap``                how a tap is made
``bridge_membership``  put an interface into a Linux bridge, or take it out
``address_migration``  pure: the host's addresses and routes as requests that move them
``deletions``          delete many links in one request
``sysctl``             the per-device sysctls that count as attributes of a link
``programs``           run a program until a deadline
``rtnetlink``          the wire format of rtnetlink, and its socket
"""
