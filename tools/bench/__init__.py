"""What exact work costs on this machine."""
