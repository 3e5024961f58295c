"""The version of the rules of RULES.md."""

from __future__ import annotations

#: Raised when a rule changes what results mean. Records of two versions are never compared.
RULES_VERSION = 1
