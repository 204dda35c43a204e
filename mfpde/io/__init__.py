"""Everything that touches a file: studies in TOML, data tables, outputs in HDF5."""
