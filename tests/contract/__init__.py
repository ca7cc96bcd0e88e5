# SPDX-License-Identifier: Apache-2.0
"""One suite that runs against the fakes and against the real thing."""
