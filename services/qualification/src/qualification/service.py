"""What the service is made of, for the runtime and for tests."""

from baton_kit.runtime import Service
from qualification import evaluate
from qualification.app import App, create_api, open_app
from qualification.handlers import SUBSCRIPTION
from qualification.settings import Settings

SERVICE: Service[App] = Service(
    name="qualification",
    package="qualification",
    settings=Settings,
    open_app=open_app,
    create_api=create_api,
    subscriptions=(SUBSCRIPTION,),
    worker_tasks={
        "decide_due": evaluate.decide_due_for_ever,
        "decide_waiting": evaluate.decide_waiting_for_ever,
    },
)
