"""A real Kafka of its own: one broker (KRaft) on loopback, from Maven Central."""

from __future__ import annotations

import base64
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dataplatform_cli.bench.maven import class_path
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.stack.ports import free_port_above

COORDINATES = "org.apache.kafka:kafka_2.13:3.9.1"
_FIRST_PORT = 44_000
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class Broker:
    """A broker that can be started, killed and started again with what it holds.

    Args:
        folder: an empty folder for its data and log.

    Raises:
        NoPeerError: Java, Maven or Kafka can't be had.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._class_path = class_path("Kafka", COORDINATES)
        port = free_port_above(_FIRST_PORT)
        self.address = f"127.0.0.1:{port}"
        self._properties = folder / "server.properties"
        given = {"port": port, "controller": free_port_above(port + 1), "folder": folder}
        self._properties.write_text(_PROPERTIES.format(**given))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)).wait(60)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the broker and return once it answers.

        Raises:
            PlatformError: it ended, or did not answer within a minute.
        """
        self._process = self._java("kafka.Kafka", str(self._properties))
        deadline = time.monotonic() + 60
        while True:
            with suppress(KafkaException):
                AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=1)
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PlatformError("Kafka did not start", f"see {self._folder / 'kafka.log'}")

    def kill(self) -> None:
        """End the broker at once, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End the broker in order."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self.kill()

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = ["java", "-Xmx512m", "-cp", self._class_path, *arguments]
        with (self._folder / "kafka.log").open("ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
