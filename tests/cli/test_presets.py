"""Presets: typed, and helpful about slips."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iconface_video.cli.main import main
from iconface_video.configs import load_preset, preset_names, to_yaml
from iconface_video.errors import InputError, UsageError
from iconface_video.settings import ReadSettings, RestoreSettings, RunSettings


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_load_and_explain_themselves(name):
    preset = load_preset(name)
    assert preset.settings() != RunSettings()
    assert preset.description.endswith(".")


def test_the_four_presets_are_there():
    assert set(preset_names()) >= {"family", "film", "interview", "fast"}


def test_options_win_over_the_preset():
    film = load_preset("film")
    assert film.settings().render.strength == 0.75
    chosen = film.settings({"render": {"strength": 0.5}})
    assert chosen.render == replace(film.settings().render, strength=0.5)
    assert film.settings().render.strength == 0.75


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("render:\n  strenght: 1\n", r"unknown setting 'strenght'\. Did you mean 'strength'\?"),
        ("rendr:\n  strength: 1\n", r"unknown section 'rendr'\. Did you mean 'render'\?"),
        ("strength: 1\n", r"unknown section 'strength'\. 'strength' belongs under 'render:'\."),
        ("render:\n  strength: 3\n", r"strength is 3, must be within \[0\.0, 1\.0\]"),
        ("render:\n  strength: .nan\n", r"strength is nan, must be within \[0\.0, 1\.0\]"),
        ("render:\n  strength: high\n", r"strength is 'high', must be a number"),
        ("encode:\n  crf: true\n", r"crf is True, must be a whole number"),
        ("encode:\n  crf: 16.5\n", r"crf is 16\.5, must be a whole number"),
        ("render:\n  color_match: 1\n", r"color_match is 1, must be true or false"),
        ("encode:\n  codec: h265\n", r"codec is 'h265', must be one of h264, hevc, prores, ffv1"),
        ("render: 3\n", r"section 'render' must hold settings, got 3"),
        ("- a\n", r"a preset holds settings by name"),
        ("a: [\n", r"not valid YAML"),
    ],
)
def test_wrong_presets_name_file_and_remedy(text, sentence, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_preset(str(path))
    assert str(path) in str(caught.value)


def test_how_a_model_is_loaded_still_stands_under_restore(tmp_path):
    """Its settings have a class of their own; files of the user's name them where they always were."""
    path = tmp_path / "mine.yaml"
    path.write_text("restore:\n  dtype: float16\n  compile: true\n  quantize: int8\n  offload: true\n  lora_scale: 0.5\n")
    chosen = load_preset(str(path)).settings().restore
    assert chosen == RestoreSettings(dtype="float16", compile=True, quantize="int8", offload=True, lora_scale=0.5)


def test_missing_preset_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_preset(str(tmp_path / "none.yaml"))


def test_nothing_in_a_preset_is_executed(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"render: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_preset(str(path))
    assert not (tmp_path / "made").exists()


def test_words_on_and_off_stay_words(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("read:\n  deinterlace: off\n")
    assert load_preset(str(path)).settings().read == ReadSettings("weave")


def test_an_earlier_name_and_the_present_one_replace_each_other(tmp_path):
    path = tmp_path / "mine.yaml"
    for said, given in (("deinterlace: on", {"fields": "keep"}), ("fields: weave", {"deinterlace": "auto"})):
        path.write_text(f"read:\n  {said}\n")
        assert load_preset(str(path)).settings({"read": given}).read == ReadSettings("keep")
    path.write_text("read:\n  deinterlace: on\n  fields: weave\n")
    with pytest.raises(UsageError, match="deinterlace on is the earlier name of fields half, but fields is weave"):
        load_preset(str(path))


@pytest.mark.parametrize("name", ["default", *preset_names()])
def test_what_show_prints_is_a_preset(name, tmp_path, capsys):
    assert main(["config", "show", name]) == 0
    path = tmp_path / "again.yaml"
    path.write_text(capsys.readouterr().out)
    assert load_preset(str(path)).settings() == load_preset(name).settings()


def test_yaml_keeps_awkward_descriptions(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(RunSettings(), "a: 'b' # c"))
    assert load_preset(str(path)).description == "a: 'b' # c"


def test_list_names_all(capsys):
    assert main(["config", "list"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in preset_names() if name not in shown] == []
