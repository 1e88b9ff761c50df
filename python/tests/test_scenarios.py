"""Every scenario of `examples/scenarios`, with the blocking calls and those of asyncio, at every door."""

from __future__ import annotations

from pathlib import Path

import headwater
import pytest
from scenario_values import Map, Wrong
from scenarios import DOORS, FOLDER, Door, load, run

SCENARIOS = load(FOLDER.glob("*.yaml"))
WRONG = load(FOLDER.glob("wrong/*.yaml"))


@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("language", ["python", "aio"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: Map, language: str, kind: str, tmp_path: Path) -> None:
    if language not in scenario.get("languages", [language]):
        pytest.skip(scenario["because"])
    door = Door(kind, tmp_path)
    try:
        if needed := set(scenario.get("needs", [])) - door.gives:
            pytest.skip(f"{kind} is not {', '.join(needed)}")
        run(scenario, door, language)
    finally:
        door.close()


@pytest.mark.parametrize("language", ["python", "aio"])
@pytest.mark.parametrize("scenario", WRONG, ids=lambda scenario: scenario["name"])
def test_what_is_wrong_is_found(scenario: Map, language: str, tmp_path: Path) -> None:
    door = Door("mem", tmp_path)
    with pytest.raises((Wrong, headwater.NotFound)):
        run(scenario, door, language)
    door.close()
