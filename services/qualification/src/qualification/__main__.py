"""Roles of the service: `python -m qualification {api|worker|migrate}`."""

import sys

from baton_kit.runtime import run
from qualification.service import SERVICE

sys.exit(run(SERVICE))
