"""The HTTP edge, one file for each thing that it is about. A feature of its own brings its own `api.py`."""

from qualification.api import agreements, decisions, leads, people, reports
from qualification.evidence import api as evidence

ROUTERS = [people.router, agreements.router, decisions.router, leads.router, reports.router, evidence.router]
