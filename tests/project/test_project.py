"""Finding the project, and reading its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ConfigError, HeadraceError, ProjectError
from headrace.project.project import load
from headrace.project.settings import PoolSection


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty `pipelines.py`, which is the current one."""
    (tmp_path / "pipelines.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(root: Path, text: str) -> None:
    (root / "headrace.toml").write_text(text)


def test_an_empty_file_means_all_defaults(root: Path) -> None:
    write(root, "")
    project = load(environment={})
    assert (project.root, project.home) == (root, root / ".headrace")
    assert project.files == (root / "pipelines.py",)
    assert [pool.name for pool in project.pools()] == ["local"]
    assert project.pools()[0].cpu > 0
    assert project.pools()[0].memory_gib > 0


def test_the_project_is_found_from_a_folder_below(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "")
    (root / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(root / "a" / "b")
    assert load(environment={}).root == root


def test_a_file_names_a_pipeline_where_there_is_no_project(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "flow.py").write_text("")
    project = load(target="sub/flow.py:main", environment={})
    assert project.root == root / "sub"
    assert project.files == (root / "sub" / "flow.py",)
    assert project.address("sub/flow.py:main") == "flow.py:main"


def test_a_file_inside_a_project_belongs_to_it(root: Path) -> None:
    write(root, "")
    (root / "sub").mkdir()
    (root / "sub" / "flow.py").write_text("")
    project = load(target="sub/flow.py:main", environment={})
    assert project.root == root
    assert project.files == (root / "sub" / "flow.py", root / "pipelines.py")
    assert project.address("sub/flow.py:main") == "sub/flow.py:main"


def test_the_state_of_runs_without_a_project_is_found_again(root: Path) -> None:
    (root / ".headrace").mkdir()
    (root / ".headrace" / "ledger.db").write_text("")
    assert load(environment={}).root == root


def test_state_in_a_folder_above_does_not_take_over_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (root / ".headrace", root / "sub"):
        folder.mkdir()
    (root / ".headrace" / "ledger.db").write_text("")
    (root / "sub" / "flow.py").write_text("")
    assert load(target="sub/flow.py:main", environment={}).root == root / "sub"
    monkeypatch.chdir(root / "sub")
    found = load(target="flow.py:main", environment={})
    assert (found.root, found.home) == (root / "sub", root / "sub" / ".headrace")
    found.make_home()
    (found.home / "ledger.db").write_text("")
    assert load(environment={}).root == root / "sub"


def test_no_project_says_how_to_make_one(root: Path) -> None:
    with pytest.raises(ProjectError, match=r"no `headrace.toml`") as caught:
        load(environment={})
    assert "headrace init" in str(caught.value.hint)
    assert "that file's folder" in str(caught.value.hint)


def test_a_deleted_folder_is_told(root: Path) -> None:
    gone = root / "gone"
    gone.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(gone)
        gone.rmdir()
        with pytest.raises(ProjectError, match="deleted"):
            load(environment={})


def test_another_file_lies_over_the_first_and_the_environment_over_both(root: Path) -> None:
    write(root, '[project]\nname = "one"\n[pool.big]\ncpu = 1\nmemory_gib = 2\n')
    (root / "cluster.toml").write_text("[pool.big]\ncpu = 8\ngpus = 1\n")
    project = load(
        overlay=Path("cluster.toml"),
        environment={"HEADRACE__POOL__BIG__GPUS": "4", "HEADRACE__PROJECT__NAME": "17", "HEADRACE__RUN__TIMEOUT": "90"},
    )
    assert project.config.pool == {"big": PoolSection(cpu=8, memory_gib=2, gpus=4)}
    assert project.name == "17"
    assert project.timeout_s == 90
    assert project.config_files == (root / "headrace.toml", Path("cluster.toml"))


def test_a_variable_may_hold_a_list(root: Path) -> None:
    (root / "other.py").write_text("")
    write(root, "")
    assert load(environment={"HEADRACE__PROJECT__PIPELINES": '["other.py"]'}).files == (root / "other.py",)


def test_the_state_can_be_moved(root: Path) -> None:
    write(root, "")
    assert load(environment={"HEADRACE_HOME": "state"}).home == root / "state"
    assert load(environment={"HEADRACE_HOME": "/elsewhere"}).home == Path("/elsewhere")


def test_the_state_folder_hides_itself_from_git(root: Path) -> None:
    write(root, "")
    home = load(environment={}).make_home()
    assert (home / ".gitignore").read_text() == "*\n"


BROKEN = {
    "broken TOML": ("[project\n", {}, "headrace.toml:1: not valid TOML", "[section]"),
    "a value without quotes": ("[project]\nname = one\n", {}, "headrace.toml:2: not valid TOML", "quotes"),
    "an unknown key": ("[project]\npiplines = []\n", {}, "headrace.toml:2: unknown key `piplines`", "`pipelines`"),
    "an unknown section": ("\n[projct]\nname = 'x'\n", {}, "headrace.toml:2: unknown section `projct`", "`project`"),
    "a key above its section": ("pipelines = []\n", {}, "headrace.toml:1: unknown key `pipelines`", "`[project]`"),
    "a key nested too deep": ("[project.a.b]\nname = 'x'\n", {}, "headrace.toml:1: unknown key `a`", "`name`"),
    "a value in place of a section": (
        "project = 3\n",
        {},
        "headrace.toml:1: `project` must be a section",
        "`[project]`",
    ),
    "a pool without a name": (
        "[pool]\ncpu = 3\n",
        {},
        "headrace.toml:2: `pool.cpu` must be a section",
        "`[pool.NAME]`",
    ),
    "an unknown key of a pool": ("[pool.big]\ncpus = 3\n", {}, "headrace.toml:2: unknown key `cpus`", "`cpu`"),
    "a wrong type": ("[project]\nname = 3\n", {}, "headrace.toml:2: `project.name` is 3", "give a string"),
    "a wrong type in a list": ("[project]\npipelines = [1]\n", {}, "`project.pipelines` is [1]", "list of strings"),
    "text for a list": ("[project]\npipelines = 'a.py'\n", {}, "`project.pipelines` is 'a.py'", "list of strings"),
    "a variable with text for a list": (
        "",
        {"HEADRACE__RUN__POOLS": "a,b"},
        "HEADRACE__RUN__POOLS: `run.pools` is 'a,b'",
        'list of strings, such as `["one", "other"]`',
    ),
    "a number out of range": (
        "[pool.a]\ncpu = 1\n[pool.b]\ncpu = -2\n",
        {},
        "headrace.toml:4: `pool.b.cpu` is -2",
        "give a number above 0",
    ),
    "a number that is too large": (
        "[serve]\nwait_s = 11\n",
        {},
        "headrace.toml:2: `serve.wait_s` is 11",
        "give a number above 0, at most 10",
    ),
    "a word that isn't one of those": (
        "[pool.b]\nnamespace = 'maybe'\n",
        {},
        "headrace.toml:2: `pool.b.namespace` is 'maybe'",
        '"auto"',
    ),
    "a time in strange words": ("[run]\ntimeout = 'soon'\n", {}, "headrace.toml:2: `timeout` is 'soon'", "90s"),
    "no time at all": ("[run]\ntimeout = 0\n", {}, "headrace.toml:2: `timeout` is 0", "above 0"),
    "how long predictions are kept": ("[serve]\nkeep = 'soon'\n", {}, "headrace.toml:2: `keep` is 'soon'", "90s"),
    "how long those of an endpoint are kept": (
        "[endpoint.delays]\nlog = 'off'\nkeep = -1\n",
        {},
        "headrace.toml:3: `keep` is -1",
        "above 0",
    ),
    "how long runs are kept": ("", {"HEADRACE__GC__KEEP": "a while"}, "HEADRACE__GC__KEEP: `keep` is 'a while'", "7d"),
    "a variable's wrong type": (
        "",
        {"HEADRACE__POOL__LOCAL__CPU": "many"},
        "HEADRACE__POOL__LOCAL__CPU: `pool.local.cpu` is 'many'",
        "number above 0",
    ),
    "a variable's unknown key": (
        "",
        {"HEADRACE__PROJECT__NAMES": "x"},
        "HEADRACE__PROJECT__NAMES: unknown key `names`",
        "`name`",
    ),
    "a variable without a key": (
        "",
        {"HEADRACE__PROJECT": "x"},
        "HEADRACE__PROJECT: `project` must be a section, but has a value",
        "`[project]`",
    ),
}


@pytest.mark.parametrize(("text", "environment", "message", "hint"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_said_with_its_line_and_a_hint(
    root: Path, text: str, environment: dict[str, str], message: str, hint: str
) -> None:
    write(root, text)
    with pytest.raises(ConfigError) as caught:
        load(environment=environment)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_file_of_pipelines_that_is_not_there_matters_only_to_what_needs_pipelines(root: Path) -> None:
    write(root, "[project]\npipelines = ['a.py', 'pipelines.py', 'b.py']\n")
    project = load(environment={})
    assert project.files == (root / "pipelines.py",)
    with pytest.raises(ConfigError) as caught:
        project.check_files()
    assert caught.value.message == f"headrace.toml:2: there is no file `a.py` in `{root}`"
    assert "relative" in str(caught.value.hint)
    write(root, "")
    load(environment={}).check_files()


@pytest.mark.parametrize(
    ("first", "overlay", "environment", "chosen"),
    [
        ('pools = ["a", "b"]', 'pool = "c"', {}, ["c"]),
        ('pool = "c"', 'pools = ["a", "b"]', {}, ["a", "b"]),
        ('pools = ["a", "b"]', "", {"HEADRACE__RUN__POOL": "c"}, ["c"]),
        ('pools = ["a", "b"]', 'pool = "c"', {"HEADRACE__RUN__POOLS": '["b", "c"]'}, ["b", "c"]),
        ('pool = "c"', "timeout = 9", {}, ["c"]),
    ],
)
def test_one_pool_or_several_of_a_later_layer_replace_what_earlier_layers_choose(
    root: Path, first: str, overlay: str, environment: dict[str, str], chosen: list[str]
) -> None:
    write(root, f"[run]\n{first}\n[pool.a]\n[pool.b]\n[pool.c]\n")
    (root / "fleet.toml").write_text(f"[run]\n{overlay}\n")
    project = load(overlay=root / "fleet.toml", environment=environment)
    assert [pool.name for pool in project.run_pools()] == chosen


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        (
            '[run]\npool = "a"\npools = ["b"]\n',
            {},
            "headrace.toml:3: `[run] pools` and `[run] pool` (headrace.toml:2) are both set",
        ),
        (
            "",
            {"HEADRACE__RUN__POOL": "a", "HEADRACE__RUN__POOLS": '["b"]'},
            "HEADRACE__RUN__POOLS: `[run] pools` and `[run] pool` (HEADRACE__RUN__POOL) are both set",
        ),
    ],
)
def test_one_pool_and_several_in_the_same_layer_are_refused_with_both_places(
    root: Path, text: str, environment: dict[str, str], told: str
) -> None:
    write(root, f"{text}[pool.a]\n[pool.b]\n")
    with pytest.raises(ConfigError) as caught:
        load(environment=environment)
    assert caught.value.message == told


def test_a_missing_overlay_is_told(root: Path) -> None:
    write(root, "")
    with pytest.raises(ConfigError, match=r"there is no file `cluster.toml`"):
        load(overlay=Path("cluster.toml"), environment={})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = '\xe4'"])
def test_a_file_in_another_encoding_is_told(root: Path, content: bytes) -> None:
    (root / "headrace.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="UTF-8"):
        load(environment={})


def test_a_folder_in_place_of_the_file_is_told(root: Path) -> None:
    (root / "headrace.toml").mkdir()
    with pytest.raises(HeadraceError, match="is a directory"):
        load(environment={})


REGIONS = """
[store]
url = "kept"

[region.eu]
store = "s3://bucket/prefix"
endpoint = "http://127.0.0.1:8333"
region = "eu-west-1"
jurisdiction = "EU"

[link.over-the-sea]
from = "local"
to = "eu"
usd_per_gb = 0.02

[pool.here]

[pool.there]
region = "eu"
"""


THERE_AND_BACK = """
[region.eu]
store = "x"
[link.a]
from = "local"
to = "eu"
[link.back]
from = "eu"
to = "local"
"""


def test_regions_have_stores_and_links_have_prices(root: Path) -> None:
    write(root, REGIONS)
    project = load(environment={})
    assert [region.name for region in project.regions()] == ["local", "eu"]
    assert project.region().store.url == str(root / "kept")
    assert project.region("eu").store.endpoint == "http://127.0.0.1:8333"
    assert project.region("eu").jurisdiction == "EU"
    assert project.link("local", "eu").usd(10**9) == 0.02
    assert project.link("eu", "local").usd(10**9) == 0.0
    assert project.pool().name == "here"
    assert project.pool("there").region == "eu"


def test_overlays_reach_every_named_table(root: Path) -> None:
    write(root, REGIONS + '[pool.far]\nbackend = "ray"\nlabels = {Zone = "a", rack = "1"}\n')
    (root / "fleet.toml").write_text('[region.eu]\nstore = "s3://other"\n[pool.far.labels]\nrack = "2"\n')
    environment = {
        "HEADRACE__LINK__OVER_THE_SEA__USD_PER_GB": "0.05",
        "HEADRACE__REGION__EU__CACHE_GIB": "2",
        "HEADRACE__POOL__FAR__LABELS__ZONE": "b",
        "HEADRACE__POOL__FAR__RESOURCES": "{licence = 1}",
        "HEADRACE__RUN__POOL": "there",
    }
    project = load(overlay=root / "fleet.toml", environment=environment)
    assert project.region("eu").store.url == "s3://other"
    assert project.region("eu").store.region == "eu-west-1"
    assert project.region("eu").store.cache_gib == 2
    assert project.link("local", "eu").usd_per_gb == 0.05
    assert project.config.pool["far"].labels == {"Zone": "b", "rack": "2"}
    assert project.config.pool["far"].resources == {"licence": 1.0}
    assert project.pool().name == "there"


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ('[pool.a]\nregion = "es"\n[region.eu]\nstore = "x"', "headrace.toml:2: there is no region `es`", "`eu`"),
        ('[link.a]\nfrom = "local"\nto = "mars"', "headrace.toml:3: there is no region `mars`", "[region.mars]"),
        ('[link.a]\nfrom = "local"', "headrace.toml:2: `link.a` has no `to`", "a string"),
        (
            f"{THERE_AND_BACK}[link.b]\nfrom = 'local'\nto = 'eu'",
            "headrace.toml:11: `[link.b]` and `[link.a]` (headrace.toml:5) are both from `local` to `eu`",
            "leave one of them out",
        ),
        ('[region.eu]\njurisdiction = "EU"', "headrace.toml:2: region `eu` has no `store`", "address"),
        ('[run]\npool = "lokal"\n[pool.local]', "headrace.toml:2: there is no pool `lokal`", "`local`"),
        ('[pool.a]\nbackend = "local"\naddress = "b:1"', "headrace.toml:3: `address` has no effect", "`ray`"),
        ('[pool.a.labels]\nzone = "b"', "headrace.toml:2: `labels` has no effect on pool `a`", "`ray`"),
        ('[ledger]\nurl = ["postgresql://me:geheim@host/db"]', "'postgresql://me:***@host/db'", "a string"),
        ('[store]\nurl = "s3://me:geheim@bucket"', "`s3://***@bucket` holds credentials", "usual places"),
    ],
)
def test_places_that_make_no_sense_are_refused_where_they_were_written(
    root: Path, text: str, told: str, hint: str
) -> None:
    write(root, text)
    with pytest.raises(ConfigError) as caught:
        load(environment={}).regions()
    assert told in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "geheim" not in str(caught.value)


def test_runs_go_where_the_overlay_adds_a_pool(root: Path) -> None:
    write(root, "[pool.local]\ncpu = 1\n\n[pool.other]\ncpu = 1\n")
    (root / "fleet.toml").write_text('[pool.other]\ncpu = 2\n\n[pool.cluster]\nbackend = "ray"\n')
    project = load(overlay=root / "fleet.toml", environment={})
    assert [pool.name for pool in project.pools()] == ["cluster", "local", "other"]
    assert project.pool().name == "cluster"
