from baton_kit.migration import run_env
from lead_intake.tables import metadata

run_env(metadata)
