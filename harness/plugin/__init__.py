"""What stands behind the pytest plugin (harness/plugin/hooks.py); importing this package loads nothing heavy.

options   command-line options, defined once for pytest and the CLI
collector policy files as pytest files
items     one item per rule x rung x case
suite     which items a policy has
shared    work that a session does once, whichever of its processes comes first
session   replay, verdict and report of a session
"""
