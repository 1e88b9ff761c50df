"""The app on a Kafka of the test's own. With another Kafka, `kafka_bootstrap` is the one fixture to change."""

import pytest
from app import app
from fastapi.testclient import TestClient


@pytest.fixture
def start(kafka_bootstrap, monkeypatch):
    """Starts the app, as often as a test likes: `with start() as client`."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    return lambda: TestClient(app)
