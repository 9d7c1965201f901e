from attribution.tables import metadata
from baton_kit.migration import run_env

run_env(metadata)
