# SPDX-License-Identifier: MIT
"""deploy/kubernetes under test: built, validated, and run without a cluster."""
