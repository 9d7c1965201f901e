from baton_kit.migration import run_env
from toy.service import metadata

run_env(metadata)
