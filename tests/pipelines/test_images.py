"""An image is named by what it is made of, holds that and nothing else, and runs as anybody on a read-only root."""

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl
from packaging.version import Version

from components.shared.errors import InputError, StepFailed
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import images as verb
from pipelines.images import builder as images
from pipelines.images import digests, environments, locking, recipes, registries, sbom
from tests import engine

ROOT = environments.ROOT
BASE = "base:1"
NAMES = images.names()
PERENNIAL = str(Path(sys.executable).with_name("perennial"))
REGISTRY = shutil.which("docker-registry")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of all that images are made of."""
    root = tmp_path / "checkout"
    for folder in ("components", "serving"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "infra").mkdir()
    for path in (ROOT / "infra").iterdir():
        if path.is_file():
            shutil.copy(path, root / "infra")
        elif (path / "image.yaml").exists():
            shutil.copytree(path, root / "infra" / path.name)
    return root


def test_every_step_the_server_and_the_services_have_an_image():
    assert set(environments.steps()) | {"serving"} <= set(NAMES)
    assert {"mlflow", "feature_server"} <= set(NAMES)
    assert [name for name in NAMES if not (ROOT / recipes.recipe(name).lock).exists()] == []


def test_every_image_and_nothing_else_has_a_ceiling():
    assert set(yaml.safe_load((ROOT / recipes.CEILINGS).read_text())) == set(NAMES)


@pytest.mark.parametrize(
    "changed",
    [
        "components/gate/requirements.txt",
        "components/gate/logic.py",
        "components/shared/errors.py",
        "infra/Dockerfile",
        "infra/uv.txt",
    ],
)
def test_a_reference_changes_with_lock_source_and_recipe(checkout, changed):
    before = images.reference("gate", BASE, root=checkout)
    (checkout / changed).write_text((checkout / changed).read_text() + "\n")

    assert images.reference("gate", BASE, root=checkout) != before


def test_a_reference_changes_with_the_base_and_when_a_needed_file_comes_or_goes(checkout):
    before = images.reference("gate", BASE, root=checkout)

    assert images.reference("gate", "base:2", root=checkout) != before
    (checkout / "components" / "gate" / "page.html.j2").touch()
    assert images.reference("gate", BASE, root=checkout) != before


def test_a_server_has_another_reference_with_other_settings_and_a_step_has_not(checkout):
    before = {name: images.reference(name, BASE, root=checkout) for name in NAMES}
    path = checkout / "infra" / "mlflow" / "image.yaml"
    path.write_text(path.read_text().replace("5000", "5001"))
    changed = [name for name in NAMES if images.reference(name, BASE, root=checkout) != before[name]]

    assert changed == ["mlflow"]


def test_on_this_machine_a_reference_covers_lock_source_and_interpreter_but_no_recipe(checkout, monkeypatch):
    before = recipes.reference("gate", root=checkout)
    (checkout / "infra" / "Dockerfile").write_text("FROM scratch")

    assert recipes.reference("gate", root=checkout) == before == recipes.reference("gate")
    (checkout / "components" / "gate" / "requirements.txt").write_text("other")
    assert recipes.reference("gate", root=checkout) != before
    monkeypatch.setattr("platform.python_version", lambda: "3.11.99")
    assert recipes.reference("gate") != before


@pytest.mark.parametrize(
    "changed",
    [
        "components/gate/README.md",
        "components/gate/requirements.in",
        "components/gate/component.yaml",
        "components/gate/__pycache__/logic.cpython-311.pyc",
        "components/gate/.env",
        "components/gate/unused.py",
        "components/split/logic.py",
        "components/shared/learning/fitting.py",
        "serving/server.py",
        "infra/image_sizes.yaml",
        "tests/components/gate/test_gate.py",
    ],
)
def test_a_reference_changes_with_nothing_else(checkout, changed):
    before = images.reference("gate", BASE, root=checkout)
    (checkout / changed).parent.mkdir(parents=True, exist_ok=True)
    (checkout / changed).write_text("changed")

    assert images.reference("gate", BASE, root=checkout) == before


def test_a_reference_does_not_depend_on_where_the_checkout_lies(checkout):
    assert [images.reference(n, BASE, root=checkout) for n in NAMES] == [images.reference(n, BASE) for n in NAMES]


def test_a_registry_stands_before_the_name_and_leaves_the_tag():
    here, there = images.reference("data_validation", BASE), images.reference("data_validation", BASE, "example.com/a")

    assert there == f"example.com/a/{here}"
    assert re.fullmatch(r"perennial/data-validation:[0-9a-f]{16}", here)


@pytest.mark.parametrize("name", NAMES)
def test_a_build_sees_recipe_locks_and_source_and_no_other_file(checkout, name):
    for secret in (".env", "credentials", "key.pem", "notes.yaml", "__pycache__/logic.cpython-311.pyc"):
        path = checkout / recipes.recipe(name, checkout).lock.parent / secret
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
    with tarfile.open(fileobj=io.BytesIO(recipes.recipe(name, checkout).context())) as archive:
        seen = archive.getnames()

    allowed = re.compile(r"source(/.*\.(py|j2|css|sql|json))?|requirements\.txt|Dockerfile|uv\.txt")
    assert [path for path in seen if not allowed.fullmatch(path)] == []
    assert {"source", *recipes.recipe(name, checkout).files()} == set(seen)


def test_the_recipe_installs_hashed_wheels_and_ends_as_nobody():
    text = (ROOT / recipes.DOCKERFILE).read_text()
    [last] = re.findall(r"(?ms)^FROM \$\{BASE\}\n.*\Z", text)

    assert re.findall(r"(?m)^USER (.*)$", text) == ["65532:65532"]
    assert not re.search(r"\b(apt-get|apk|gcc|build-essential|curl|wget)\b", text)
    assert "RUN" not in last and "/opt/uv" not in last


@pytest.mark.parametrize(
    ("name", "ports", "entrypoint"),
    [
        ("gate", "", ""),
        ("serving", "8080 8081", '["python3", "-m", "serving"]'),
        ("collector", "8090", '["python3", "-m", "serving.collector"]'),
        ("mlflow", "5000", '["mlflow"]'),
        ("feature_server", "6566", '["feast"]'),
    ],
)
def test_an_image_adds_settings_only_behind_the_common_recipe(name, ports, entrypoint):
    """What comes before is equal word for word: that is what lets images share layers."""
    common, text = (ROOT / recipes.DOCKERFILE).read_text(), recipes.recipe(name).files()["Dockerfile"].decode()
    added = text.removeprefix(common)

    assert text.startswith(common)
    assert re.findall(r"(?m)^EXPOSE (.*)$", added) == [ports][: bool(ports)]
    assert re.findall(r"(?m)^ENTRYPOINT (.*)$", added) == [entrypoint][: bool(entrypoint)]
    # A server with a fixed seed would be open to requests that are made to collide.
    assert ("PYTHONHASHSEED=0" in added) == (name in environments.steps())
    assert "USER" not in added


def test_an_unknown_image_is_named_with_those_that_are_known():
    with pytest.raises(
        InputError, match=r"there is no image 'moon'; known are \['alibi_drift', 'batch_scoring', 'cadence', 'champion'"
    ):
        recipes.chosen(["moon"])
    assert recipes.chosen(["data-validation"]) == ["data_validation"]


def test_a_laptop_target_has_no_images(tmp_path):
    with pytest.raises(InputError, match=r"target 'laptop' .* has no images; it runs processes, so name another"):
        verb.source(TargetOptions(tmp_path, "laptop"))


def test_a_flag_goes_before_the_target_file(tmp_path):
    where = verb.source(TargetOptions(tmp_path, "docker", ("images.base=a",)), base="b", registry=None)

    assert (where.base, where.registry) == ("b", "")


# The lock of digests.


@pytest.mark.parametrize("name", locking.locks())
def test_no_lock_holds_a_version_with_known_vulnerabilities(name):
    """Versions below these have advisories, and something in the tree of dependencies asks for them."""
    fixed = {"urllib3": Version("2.8.0")}
    pinned = re.findall(r"^([\w.-]+)==([^ ]+)", locking.locks()[name].path.read_text(), re.MULTILINE)

    assert [
        (package, version) for package, version in pinned if Version(version) < fixed.get(package, Version("0"))
    ] == []


def test_the_committed_lock_names_images_that_there_are_by_digests():
    known = {recipes.repository(name) for name in NAMES}
    for target, digest in digests.read().items():
        assert re.search(r"perennial/[a-z-]+(?=:)", target)[0] in known
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)


def test_a_compile_pins_what_the_lock_has_as_it_is_now(tmp_path):
    path, digest = tmp_path / "images.lock", f"sha256:{'a' * 64}"
    digests.write({images.reference("gate", BASE, "r.example"): digest, "r.example/perennial/split:old": digest}, path)

    assert images.pinned("gate", BASE, "r.example", path) == f"r.example/perennial/gate@{digest}"
    assert images.pinned("gate", BASE, "s.example", path) == images.reference("gate", BASE, "s.example")
    assert images.pinned("split", BASE, "r.example", path) == images.reference("split", BASE, "r.example")


def test_a_new_digest_takes_the_place_of_its_images_former_one_only(tmp_path):
    path = tmp_path / "images.lock"
    digests.write({"r/perennial/gate:1": "sha256:1", "s/perennial/gate:1": "sha256:2"}, path)
    digests.write({"r/perennial/gate:2": "sha256:3"}, path)

    assert digests.read(path) == {"r/perennial/gate:2": "sha256:3", "s/perennial/gate:1": "sha256:2"}


# The bill of materials.


def survey(name: str) -> dict[str, Any]:
    locked = sbom.packages(ROOT / recipes.recipe(name).lock)
    return {
        "python": "3.11.2",
        "packages": {package: [version, "Apache-2.0"] for package, version in locked.items()},
        "below": {"pip": ["23.0.1", "MIT"]},
        "debian": [["libc6", "2.36-9+deb12u10", "amd64"]],
    }


FOUND = {
    "Id": "sha256:1",
    "Created": "2026-11-21T05:00:00.123456789Z",
    "Config": {"Labels": {"perennial.lock-hash": "a"}},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_bill_of_materials_lists_exactly_the_locks_packages(name):
    page = json.loads(sbom.bill(recipes.recipe(name), images.reference(name, BASE), FOUND, survey(name)))
    pinned = dict(
        re.findall(r"(?m)^([\w.-]+)(?:\[[^\]]*\])?==(\S+) \\$", (ROOT / recipes.recipe(name).lock).read_text())
    )

    assert {c["name"]: c["version"] for c in page["components"] if layer(c) == "lock"} == pinned
    assert {c["purl"] for c in page["components"] if layer(c) != "lock"} == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
        "pkg:generic/python@3.11.2",
        "pkg:pypi/pip@23.0.1",
    }


def test_a_bill_of_materials_obeys_the_schema_and_is_the_same_for_the_same_image():
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    page, again = (sbom.bill(recipes.recipe("serving"), "a:1", FOUND, survey("serving")) for _ in range(2))

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(page) is None
    assert page == again


def test_an_image_that_lacks_a_package_of_its_lock_gets_no_bill():
    lacking = survey("gate")
    lacking["packages"].pop("kfp")

    with pytest.raises(StepFailed, match=r"a:1 lacks \['kfp'\] of its lock; remove that image and build it again"):
        sbom.bill(recipes.recipe("gate"), "a:1", FOUND, lacking)


def layer(component: dict[str, Any]) -> str | None:
    return next((p["value"] for p in component.get("properties", []) if p["name"] == sbom.LAYER), None)


# With an engine.


@pytest.fixture(scope="module")
def gate() -> images.Image:
    engine.client_or_skip()
    [built] = images.build(["gate"], base=engine.base())
    return built


def run(image: str, *command: str, user: str = "12345") -> str:
    """Run a command in an image, as somebody, on a read-only root, without a network."""
    return (
        engine.client_or_skip()
        .containers.run(
            image,
            entrypoint=list(command),
            command=[],
            user=user,
            read_only=True,
            tmpfs={"/tmp": ""},
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            remove=True,
        )
        .decode()
    )


def test_an_unchanged_image_is_not_rebuilt(gate):
    heard = []
    [again] = images.build(["gate"], base=engine.base(), announce=heard.append)

    assert again.reference == gate.reference and again.size_mib == gate.size_mib
    assert again.seconds is None and heard == []


def test_an_image_says_what_it_was_made_from(gate):
    labels = engine.client_or_skip().images.get(gate.reference).labels

    assert labels["perennial.lock-hash"] == recipes.recipe("gate").lock_hash
    assert labels["perennial.source-hash"] == recipes.recipe("gate").source_hash
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown.*", labels["org.opencontainers.image.revision"])


def test_an_image_runs_as_anybody_on_a_read_only_root(gate):
    code = """
import os
os.environ["_KFP_RUNTIME"] = "true"  # As the compiled command does.
import components.gate.logic, kfp.dsl.executor_main
print(os.getuid(), os.environ["HOME"])
"""

    assert run(gate.reference, "python3", "-c", code) == "12345 /tmp\n"
    assert run(gate.reference, "python3", "-c", code, user="") == "65532 /tmp\n"


def test_an_image_holds_no_compiler_no_uv_no_cache_and_bytecode_for_everything(gate):
    code = """
import glob, pwd, shutil
print([tool for tool in ("gcc", "cc", "g++", "make", "uv") if shutil.which(tool)])
print(glob.glob(pwd.getpwuid(0).pw_dir + "/.cache/*") + glob.glob("/opt/uv*") + glob.glob("/tmp/*"))
sources = [p for p in glob.glob("/opt/venv/lib/*/site-packages/p*/*.py") + glob.glob("/app/**/*.py", recursive=True)]
compiled = {p.rpartition("/")[2].split(".")[0] for p in glob.glob("/opt/venv/lib/*/site-packages/p*/__pycache__/*.pyc")}
compiled |= {p.rpartition("/")[2].split(".")[0] for p in glob.glob("/app/**/__pycache__/*.pyc", recursive=True)}
print(bool(sources), sorted({p.rpartition("/")[2].split(".")[0] for p in sources} - compiled))
"""

    # As root, because nobody else could look into root's home.
    assert run(gate.reference, "python3", "-c", code, user="0").splitlines() == ["[]", "[]", "True []"]


def test_a_compiled_component_runs_in_it(gate, tmp_path):
    @dsl.component(base_image=gate.reference, install_kfp_package=False)
    def twice(text: str) -> str:
        from components.gate import rules

        return f"{text} {text} {rules.__name__}"

    compiler.Compiler().compile(twice, str(tmp_path / "ir.yaml"))
    [executor] = yaml.safe_load((tmp_path / "ir.yaml").read_text())["deploymentSpec"]["executors"].values()
    asked = {"inputs": {"parameterValues": {"text": "so"}}, "outputs": {"outputFile": "/dev/stdout"}}
    asked["outputs"]["parameters"] = {"Output": {"outputFile": "/tmp/output"}}
    command = [*executor["container"]["command"], *executor["container"]["args"]]
    said = run(gate.reference, *[json.dumps(asked) if part == "{{$}}" else part for part in command])

    assert '{"parameterValues": {"Output": "so so components.gate.rules"}}' in said


def test_an_image_has_what_its_bill_of_materials_says(gate, tmp_path):
    [path] = sbom.write(["gate"], base=engine.base(), folder=tmp_path)
    page = json.loads(path.read_text())
    purls = [component["purl"] for component in page["components"]]

    assert path.name == "gate.cdx.json"
    assert any(purl.startswith("pkg:pypi/kfp@") for purl in purls)
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)


def test_a_build_by_hand_makes_the_same_image(gate):
    if not shutil.which("docker"):
        pytest.skip("the docker command is not installed")
    target = "perennial/gate:by-hand"
    written = subprocess.run([PERENNIAL, "images", "context", "gate"], capture_output=True, check=True)
    command = ["docker", "build", "--build-arg", f"BASE={engine.base()}", "-t", target, "-"]
    done = subprocess.run(command, input=written.stdout, capture_output=True)
    listing = "cd /app && find . -type f -name '*.py' | sort && cat components/gate/logic.py && ls /opt/venv/lib/*/*"

    assert done.returncode == 0, done.stderr.decode()
    assert run(target, "sh", "-c", listing) == run(gate.reference, "sh", "-c", listing)
    engine.client_or_skip().images.remove(target)


def test_an_image_over_its_ceiling_ends_the_build(gate, checkout):
    (checkout / recipes.CEILINGS).write_text("gate: 1\n")

    with pytest.raises(
        StepFailed, match=r"larger above their base .* gate \d+ MiB \(ceiling 1\); see what their locks"
    ):
        images.build(["gate"], base=engine.base(), root=checkout)


def test_a_lock_that_does_not_match_names_the_step_the_cause_and_the_log(gate, checkout):
    lock = checkout / "components" / "gate" / "requirements.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))

    with pytest.raises(
        StepFailed, match=r"the image of gate could not be built at Step \d+/\d+ : RUN .*log is"
    ) as caught:
        images.build(["gate"], base=engine.base(), root=checkout)
    log = Path(str(caught.value).rpartition("log is ")[2].rstrip("."))
    assert "Step 1/" in log.read_text()


def test_a_base_that_can_not_be_had_is_named():
    engine.client_or_skip()
    base = "127.0.0.1:9/nothing:1"

    with pytest.raises(InputError, match=f"the base image '{base}' is not on this engine and can't be pulled .*--base"):
        images.build(["gate"], base=base)


def test_a_base_without_the_right_python_is_named():
    client = engine.client_or_skip()
    wrong = "perennial/wrong-base:test"
    rest = {"custom_context": True, "tag": wrong, "dockerfile": "Dockerfile", "rm": True}
    list(client.api.build(fileobj=archive(Dockerfile=f"FROM {engine.base()}\nENV PATH=/nowhere"), **rest))

    with pytest.raises(InputError, match=f"the base image '{wrong}' has no python3 with venv and pip, the images need"):
        images.build(["gate"], base=wrong)
    client.images.remove(wrong)


def archive(**files: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    return io.BytesIO(buffer.getvalue())


def test_no_engine_is_one_sentence_and_a_listing_does_without(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    with pytest.raises(StepFailed, match="no Docker engine runs here"):
        images.build(["gate"], base=BASE)
    verb.show(["gate"], verb.source(TargetOptions(tmp_path, "docker")), as_json=True)
    [shown] = json.loads(capsys.readouterr().out)
    assert shown["name"] == "gate" and shown["size_mib"] is None


def test_an_engine_that_goes_away_is_one_sentence():
    from requests.exceptions import ConnectionError as Gone

    with (
        pytest.raises(StepFailed, match=r"the Docker engine failed \(it hung up\); see 'docker info' and the engine's"),
        images.trouble_said(),
    ):
        raise Gone("it hung up")


# With a registry.


@pytest.fixture
def registry(gate, tmp_path):
    """A registry server on loopback."""
    if not REGISTRY:
        pytest.skip("there is no registry server; on Debian: apt-get install docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = tmp_path / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    settings.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with (tmp_path / "registry.log").open("w") as log:
        server = subprocess.Popen([REGISTRY, "serve", str(settings)], stdout=log, stderr=log)
    host, _, port = address.partition(":")
    for _ in range(100):
        with socket.socket() as client:
            if client.connect_ex((host, int(port))) == 0:
                break
        time.sleep(0.1)
    yield f"{address}/team"
    server.terminate()
    server.wait()


def test_a_push_gives_the_registrys_digest_and_the_lock_has_it(gate, registry, tmp_path):
    client, heard, path = engine.client_or_skip(), [], tmp_path / "images.lock"
    pushed = registries.push(["gate"], base=engine.base(), registry=registry, announce=heard.append)
    again = registries.push(["gate"], base=engine.base(), registry=registry, announce=heard.append)
    locked = registries.lock(["gate"], base=engine.base(), registry=registry, path=path)
    [target] = pushed

    assert target == f"{registry}/{gate.reference}" and heard == [f"pushing {target}"]
    assert pushed == again == locked == digests.read(path)
    assert f"{registry}/perennial/gate@{pushed[target]}" in client.images.get(target).attrs["RepoDigests"]
    client.images.remove(target)
    # What the registry has is fetched, not built.
    [fetched] = images.build(["gate"], base=engine.base(), registry=registry, announce=heard.append)
    assert heard[1:] == [f"fetching {target}"] and fetched.size_mib == gate.size_mib
    client.images.remove(target)


def test_the_lock_has_only_what_a_registry_answered(registry, tmp_path):
    path = tmp_path / "images.lock"

    with pytest.raises(InputError, match=r"the registry has no .*/team/perennial/gate:.*'perennial images push gate'"):
        registries.lock(["gate"], base=engine.base(), registry=registry, path=path)
    assert not path.exists()


def test_a_registry_that_is_away_is_named(gate, tmp_path):
    for verb_ in (registries.push, registries.lock):
        with pytest.raises(StepFailed, match=r"the registry 127\.0\.0\.1:9 refused .*docker login 127\.0\.0\.1:9"):
            verb_(["gate"], base=engine.base(), registry="127.0.0.1:9/team")


def test_an_image_that_is_not_built_can_not_be_pushed(registry):
    with pytest.raises(InputError, match="the image of gate is not built; run 'perennial images build gate' first"):
        registries.push(["gate"], base="base:never", registry=registry)


@pytest.mark.parametrize("verb_", [registries.push, registries.lock])
def test_a_push_without_a_registry_asks_for_one(verb_):
    with pytest.raises(InputError, match="no registry is named; pass --registry"):
        verb_(["gate"], base=BASE, registry="")
