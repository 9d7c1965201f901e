"""The parts of the service, role by role."""

from baton_kit.runtime import Service
from sales_feedback import tasks
from sales_feedback.api import create_api
from sales_feedback.app import App, open_app
from sales_feedback.crms.webhook import create_public
from sales_feedback.erasing.erase import forget_for_ever
from sales_feedback.handlers import SUBSCRIPTIONS
from sales_feedback.settings import Settings

SERVICE: Service[App] = Service(
    name="sales-feedback",
    package="sales_feedback",
    settings=Settings,
    open_app=open_app,
    create_api=create_api,
    create_public=create_public,
    subscriptions=SUBSCRIPTIONS,
    worker_tasks={"assign": tasks.assign, "settle": tasks.settle, "tidy": tasks.tidy, "forget": forget_for_ever},
)
