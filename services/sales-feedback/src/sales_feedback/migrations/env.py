from baton_kit.migration import run_env
from sales_feedback.tables import metadata

run_env(metadata)
