"""The version of the rules of the comparison, which RULES.md states."""

#: Version of RULES.md. Raise it with a change of the rules that makes results incomparable with
#: earlier ones. A record of another version is computed again; a board never mixes versions.
RULES_VERSION = 1
