from baton_kit.migration import run_env

from attribution.tables import metadata

run_env(metadata)
