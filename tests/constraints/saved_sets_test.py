"""Saved models that hold sets of this project, loaded where `constraints` is imported and where it is not."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from constraints import REGISTRY, Intersection, schedules
from tests.constraints.constraint_keras_test import VALUES
from tests.support.processes import environment

SETS = {name: kind(**VALUES[name]) for name, kind in REGISTRY.items()} | {
    "intersection": Intersection((REGISTRY["nonneg"](), REGISTRY["maxnorm"](0.5))),
    "scheduled": REGISTRY["maxnorm"](schedules.cosine(2.0, 0.5, end=10)),
}
# Keras has classes of these names, too, which take its own arguments.
SAME_NAME = ("maxnorm", "minmaxnorm", "nonneg", "unitnorm")

LOAD = """
import json, sys
import keras
if {imported}: import constraints
said = {{}}
for path in sys.argv[1:]:
    try:
        if path.endswith(".json"):
            network = keras.models.model_from_json(open(path).read())
        else:
            network = keras.models.load_model(path, safe_mode=True)
        kind = type(network.layers[0].kernel_constraint)
        said[path] = [kind.__module__ + "." + kind.__qualname__]
    except Exception as error:
        said[path] = str(error)
assert {imported} or "constraints" not in sys.modules
print(json.dumps(said))
"""


def network(constraint):
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, kernel_constraint=constraint)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file for each set: all as JSON, some as `.keras` archives."""
    folder, made = tmp_path_factory.mktemp("sets"), {}
    for name, constraint in SETS.items():
        made[folder / f"{name}.json"] = name
        (folder / f"{name}.json").write_text(network(constraint).to_json())
        if name in (*SAME_NAME, "topk", "intersection", "scheduled"):
            made[folder / f"{name}.keras"] = name
            network(constraint).save(folder / f"{name}.keras")
    return made


def loaded(files, imported):
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(imported=imported), *map(str, files)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_import_no_set_is_loaded_as_another_and_the_message_says_what_to_import(files):
    said = loaded(files, imported=False)
    assert len(said) == len(files)
    for path, message in said.items():
        assert isinstance(message, str), f"{path} was loaded as {message}"
        assert "run `import constraints` before loading" in message


@pytest.mark.slow
def test_with_the_import_every_set_is_loaded_as_itself(files):
    for path, kind in loaded(files, imported=True).items():
        own = type(SETS[path.rpartition("/")[2].partition(".")[0]])
        assert kind == [f"{own.__module__}.{own.__qualname__}"]


@pytest.mark.parametrize("name", SETS)
def test_json_cloning_and_custom_objects_give_an_equal_set(name):
    saved = network(SETS[name])
    kind = type(SETS[name])
    for again in (
        keras.models.model_from_json(saved.to_json()),
        keras.models.model_from_json(saved.to_json(), custom_objects={kind.__name__: kind}),
        keras.models.clone_model(saved),
        keras.Sequential.from_config(saved.get_config()),
    ):
        assert type(again.layers[0].kernel_constraint) is kind
        if name == "mask":
            assert again.layers[0].kernel_constraint.get_config() == SETS[name].get_config()
        else:
            assert again.layers[0].kernel_constraint == SETS[name]


def without_entry(table):
    """What earlier versions saved: no entry that says what to import, in the set or in its parts."""
    if isinstance(table, dict):
        return {key: without_entry(value) for key, value in table.items() if not key.startswith("run ")}
    return [without_entry(value) for value in table] if isinstance(table, list) else table


@pytest.mark.parametrize("name", SETS)
def test_a_file_of_an_earlier_version_still_loads(name):
    table = json.loads(network(SETS[name]).to_json())
    earlier = without_entry(table)
    assert earlier != table
    again = keras.models.model_from_json(json.dumps(earlier)).layers[0].kernel_constraint
    assert type(again) is type(SETS[name])
    assert again.get_config() == SETS[name].get_config()


def test_the_registered_name_is_that_of_the_class_wherever_its_package_lies():
    for constraint in SETS.values():
        saved = keras.constraints.serialize(constraint)
        assert saved["registered_name"] == f"constraints>{type(constraint).__qualname__}"
        moved = {**saved, "module": f"elsewhere.{saved['module']}"}
        assert type(keras.constraints.deserialize(moved)) is type(constraint)


def test_a_set_of_another_module_names_that_module():
    class Own(REGISTRY["nonneg"]):
        pass

    config = Own().get_config()
    assert f"run `import {__name__}` before loading" in config
    assert isinstance(Own.from_config(config), Own)
    np.testing.assert_array_equal(Own.from_config(config)(np.float32([-1, 2])), [0, 2])
