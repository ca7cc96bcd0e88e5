# SPDX-License-Identifier: Apache-2.0
"""The options of all installed plugins, for oslo-config-generator and its like."""

from oslo_config import cfg
from oslo_log import log as logging

from os_vif import registry
from os_vif.plugin import option_group

LOG = logging.getLogger(__name__)


def list_plugins_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """List (group, options) of each installed plugin, read off its class.

    Nothing is initialised and nothing is registered. A plugin that cannot be imported is logged
    and left out.
    """
    classes, failures = registry.plugin_classes()
    for name, origin, cause in failures:
        LOG.warning("os-vif plugin %s (%s) cannot be imported: %s", name, origin, cause)
    return [
        (option_group(name), list(cls.CONFIG_OPTS)) for name, (_, cls) in sorted(classes.items())
    ]
