"""No repr, HTML, document text or error shows a secret."""

import json
import traceback
from typing import Any

import pytest

import frazil

SECRET = "hunter2"


def _source(**more: Any) -> frazil.KafkaSource:
    return frazil.kafka(
        "t",
        bootstrap="localhost:1",
        registry={"url": "http://r", "username": "u", "password": SECRET},
        security={"mechanism": "PLAIN", "username": "u", "password": SECRET, "key_password": "${env:KEY_PASSWORD}"},
        properties={"sasl.oauthbearer.client.secret": SECRET},
        **more,
    )


def test_sources_and_what_is_made_of_them_mask_secrets_and_keep_references(lake: frazil.Lake) -> None:
    source = _source()
    document = lake.read_stream(source).job("a.b", every="1s")
    for shown in (source, lake.read(source), lake.read_stream(source), document):
        for text in (repr(shown), str(shown), f"{shown}"):
            assert SECRET not in text
            assert "***" in text
            assert "${env:KEY_PASSWORD}" in text


def test_the_document_itself_can_be_written_out_and_run_elsewhere(lake: frazil.Lake) -> None:
    document = lake.read(_source()).job("a.b")
    written = json.loads(json.dumps(document))
    assert written["source"]["kafka"]["security"]["password"] == SECRET


def test_a_document_that_is_not_valid_does_not_show_itself_either() -> None:
    document = frazil.JobDocument({"lake": {"catalog": "http://c", "token": SECRET}, "sing": {}})
    assert "not valid" in repr(document)
    assert SECRET not in repr(document)


def test_errors_about_a_source_do_not_show_its_secrets() -> None:
    with pytest.raises(frazil.ConfigError) as caught:
        _source(start={"nonsense": 1})
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))


def test_a_lake_does_not_show_its_secrets(tmp_path: Any) -> None:
    lake = frazil.connect(tmp_path / "lake", storage={"access_key_id": SECRET, "secret_access_key": SECRET})
    for text in (repr(lake), str(lake), lake._repr_html_(), repr(lake.read("a.b")), repr(vars(lake)["_core"])):
        assert SECRET not in text
