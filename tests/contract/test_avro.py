"""The Avro codec against values that Java's Avro library wrote."""

import json
from pathlib import Path

import pytest

from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from tests.contract.records import balance, transfer
from tests.contract.vectors import ROOT, Vector, label, vectors

VECTORS = vectors("avro")


def only(schema: Schema) -> avro.WriterSchemas:
    return lambda _: schema


@pytest.mark.parametrize("case", VECTORS["transfers"], ids=label)
def test_transfer_encodes_to_the_bytes_of_java_and_back(case: Vector) -> None:
    value = bytes.fromhex(case["hex"])
    assert avro.schema_id(value) == case["schema_id"]
    assert avro.decode_transfer(value, only(avro.TRANSFER_SCHEMA)) == transfer(case)
    assert avro.encode_transfer(transfer(case), SchemaId(case["schema_id"])) == value


@pytest.mark.parametrize("case", VECTORS["balances"], ids=label)
def test_balance_encodes_to_the_bytes_of_java_and_back(case: Vector) -> None:
    value = bytes.fromhex(case["hex"])
    assert avro.schema_id(value) == case["schema_id"]
    assert avro.decode_balance(value, only(avro.BALANCE_SCHEMA)) == balance(case)
    assert avro.encode_balance(balance(case), SchemaId(case["schema_id"])) == value


@pytest.mark.parametrize("case", VECTORS["later"], ids=label)
def test_record_of_a_later_schema_decodes_to_our_fields(case: Vector) -> None:
    writer = avro.parse_schema(json.loads(Path(ROOT / "avro.json").read_text())["later_schema"])
    assert avro.decode_transfer(bytes.fromhex(case["hex"]), only(writer)) == transfer(case)
