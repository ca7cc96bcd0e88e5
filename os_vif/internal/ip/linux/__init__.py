# SPDX-License-Identifier: Apache-2.0
"""Network devices of Linux."""
