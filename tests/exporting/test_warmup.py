"""Warm-up requests, read with the package that defines them."""

import pytest
import tensorflow as tf

from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.exporting.warmup import WARMUP_FILE, write_warmup


def read_requests(folder):
    from tensorflow_serving.apis import prediction_log_pb2

    requests = {}
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        requests[request.model_spec.signature_name] = {
            name: tf.make_ndarray(value) for name, value in request.inputs.items()
        }
    return requests


@pytest.mark.extra
def test_the_warm_up_file_holds_a_request_for_each_signature(tmp_path):
    write_warmup(tmp_path, RGB, 2**25)
    requests = read_requests(tmp_path)
    assert {*requests} == {"serving_default", "image", "probabilities"}
    files = requests["serving_default"]["image_bytes"]
    assert [tf.io.decode_jpeg(file).shape for file in files] == [(480, 640, 3), (640, 480, 3)]
    assert requests["image"]["image"].shape == (1, 480, 640, 3)
    assert requests["image"]["image"].dtype == "uint8"
    assert (requests["image"]["image"] == 127).all()


@pytest.mark.extra
def test_warm_up_requests_have_the_type_of_the_images_and_keep_the_limit(tmp_path):
    for name in ("channels", "small"):
        (tmp_path / name).mkdir()
    write_warmup(tmp_path / "channels", PixelFormat(4, "uint16"), 2**25)
    requests = read_requests(tmp_path / "channels")
    assert requests["image"]["image"].dtype == "uint16"
    assert requests["serving_default"]["images"].dtype == "float32"
    assert requests["serving_default"]["images"].shape == (1, 480, 640, 4)
    write_warmup(tmp_path / "small", RGB, 1000)
    (file, _) = read_requests(tmp_path / "small")["serving_default"]["image_bytes"]
    assert tf.io.decode_jpeg(file).shape == (31, 32, 3)


def test_the_warm_up_file_is_small(tmp_path):
    write_warmup(tmp_path, RGB, 2**25)
    assert 3000 < (tmp_path / WARMUP_FILE).stat().st_size < 30_000
    assert len([*tf.data.TFRecordDataset(str(tmp_path / WARMUP_FILE))]) == 3
