"""Run one role of sales-feedback: api, worker, migrate."""

import sys

from baton_kit.runtime import run
from sales_feedback.service import SERVICE

sys.exit(run(SERVICE))
