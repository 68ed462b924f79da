"""What is written beside an exported model."""

import pytest

from pdanet_tf.exporting.server_files import docker_command, version_folder, write_server_files


def test_a_model_has_versions(tmp_path):
    model = tmp_path / "pdanet"
    assert version_folder(model) == model / "1"
    assert version_folder(model / "7") == model / "7"
    model.mkdir()
    assert version_folder(model) == model / "1"
    for name in ("2", "10", ".hidden"):
        (model / name).mkdir()
    assert version_folder(model) == model / "11"
    (model / "saved_model.pb").touch()
    with pytest.raises(FileExistsError, match=r"pdanet holds saved_model.pb; expected a new fold"):
        version_folder(model)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match=r"file is not a folder"):
        version_folder(tmp_path / "file")


def test_nothing_of_the_user_is_overwritten(tmp_path):
    version = tmp_path / "models" / "pdanet" / "1"
    assert write_server_files(version) == []
    config = (tmp_path / "models" / "models.config").read_text()
    assert 'name: "pdanet"\n    base_path: "/models/pdanet"\n' in config
    assert write_server_files(version) == []
    (tmp_path / "models" / "batching.config").write_text("of the user")
    other = tmp_path / "models" / "other" / "1"
    kept = write_server_files(other)
    assert [path.name for path in kept] == ["models.config", "batching.config"]
    assert (tmp_path / "models" / "models.config").read_text() == config
    assert (tmp_path / "models" / "batching.config").read_text() == "of the user"


@pytest.mark.extra
def test_the_server_can_read_the_list_of_models(tmp_path):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    write_server_files(tmp_path / 'a "b"' / "1")
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((tmp_path / "models.config").read_text(), config)
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ('a "b"', '/models/a "b"')
    assert model.model_version_policy.latest.num_versions == 1


def test_the_command_is_for_a_shell(tmp_path):
    command = docker_command(tmp_path / "my models" / "pdanet" / "1")
    assert command.startswith("docker run --rm -p 8500:8500 -p 8501:8501 -v '")
    assert (
        f"'{tmp_path / 'my models'}:/models:ro' tensorflow/serving:2.20.0 --model_config_file="
        in command
    )
