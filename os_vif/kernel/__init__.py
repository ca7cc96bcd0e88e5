# SPDX-License-Identifier: Apache-2.0
"""The kernel's links and sysctls, and the only package that speaks netlink.

``daemon``     the call of a plugin's privileged daemon, and links as the engine wants them
``observe``    read links; no privilege needed
``sysfs``      read-only facts about PCI functions and switch ports
``execute``    change links; runs inside a plugin's privileged daemon
``tap``        how a tap is made
``joining``    put an interface into a Linux bridge, with the host's addresses and routes
``moving``     pure: those addresses and routes as requests that move them
``deletions``  delete many links in one request
``sysctl``     the per-device sysctls that count as attributes of a link
``rtnetlink``  the wire format of rtnetlink, and its socket
``gate``       keeps callers of pyroute2 apart
``packing``    steps as they travel to the privileged daemon, which checks them
"""
