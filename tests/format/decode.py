"""Decodes every record of the given topics with confluent-kafka's own Avro deserializer.

usage: decode.py BROKERS REGISTRY_URL TOPIC...

Fails on the first record that cannot be decoded, or whose envelope contradicts itself. Prints the number of records.
"""

import sys

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def check(topic, key, value):
    """The envelope must say one thing."""
    if value is None:
        return
    assert value["op"] in ("c", "u", "d", "r"), value["op"]
    assert (value["after"] is None) == (value["op"] == "d"), value
    row = value["after"]
    if row is not None:
        for name, part in key.items():
            assert row[name] == part, f"{topic}: key {name} is {part}, the row has {row[name]}"
    assert value["source"]["table"] and value["source"]["file"], value["source"]


def decode(brokers, client, topic):
    deserialize = AvroDeserializer(client)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "format",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    records = ended = 0
    while ended < len(partitions):
        message = consumer.poll(20)
        assert message is not None, f"{topic}: no record and no end within 20 s"
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            ended += 1
            continue
        key = deserialize(message.key(), SerializationContext(topic, MessageField.KEY))
        value = message.value()
        if value is not None:
            value = deserialize(value, SerializationContext(topic, MessageField.VALUE))
        check(topic, key, value)
        headers = dict(message.headers())
        assert "tributary.sequence" in headers, headers
        records += 1
    consumer.close()
    return records


def main():
    brokers, registry, *topics = sys.argv[1:]
    client = SchemaRegistryClient({"url": registry})
    counts = [f"{topic}: {decode(brokers, client, topic)} records" for topic in topics]
    print(", ".join(counts))


main()
