"""The `headrace` command: one small file a command group, imported only when it is asked for."""
