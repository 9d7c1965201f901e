from baton_kit.migration import run_env
from qualification.tables import metadata

run_env(metadata)
