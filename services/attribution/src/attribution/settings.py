"""Settings of the service: those of every service, none of its own.

What a projection is computed with (lookback, half-life) is no setting: it is stored with the projection, and changed
by a rebuild.
"""

from baton_kit.settings import ServiceSettings as Settings

__all__ = ["Settings"]
