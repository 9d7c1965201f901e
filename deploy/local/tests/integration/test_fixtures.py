"""The servers that every other test suite stands on."""

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from baton_local.pytest_plugin import KafkaServer, PostgresServer


async def test_the_postgres_of_the_run_answers_and_does_not_wait_for_the_disk(
    postgres_server: PostgresServer,
) -> None:
    connection = await asyncpg.connect(postgres_server.admin_url)
    try:
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
        assert await connection.fetchval("SHOW fsync") == "off"
        assert await connection.fetchval("SELECT datlocprovider FROM pg_database LIMIT 1") == b"b"
    finally:
        await connection.close()


async def test_what_is_produced_on_the_kafka_of_the_run_is_consumed(kafka_server: KafkaServer) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic("fixtures.echo", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap_servers, enable_idempotence=True) as producer:
        await producer.send_and_wait("fixtures.echo", b"hello")
    async with AIOKafkaConsumer(
        "fixtures.echo",
        bootstrap_servers=kafka_server.bootstrap_servers,
        group_id="fixtures",
        auto_offset_reset="earliest",
    ) as consumer:
        assert (await consumer.getone()).value == b"hello"
