"""Genesis documents, network presets, and the reference models with their data."""
