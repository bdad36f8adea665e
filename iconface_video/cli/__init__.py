"""The command line: what is typed becomes settings and requests, one recipe is called, and what came of it is said.

Touch freely: a command's text, what it prints. An option is a field of a settings class, or of a dataclass beside the command
(`options.with_options`); docs/commands.md is made from them (`make docs`). Nothing heavy may be imported before a command runs.
"""
