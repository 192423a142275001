"""Every server's version, in one place.

A change here is enough to move to another version: the installation's directory is named after what it
holds, so old and new never mix.
"""

from __future__ import annotations

MAVEN_DEPENDENCY_PLUGIN = "3.8.1"

KAFKA = "4.4.0"
KAFKA_JDK = 17
# Kafka 4.4 resolves slf4j-api 1.7.36, so the binding must be of the 1.7 line too.
KAFKA_SLF4J = "1.7.36"

SEAWEEDFS = "4.48"

ICEBERG_REST = "1.11.0"
ICEBERG_REST_JDK = 17
ICEBERG_REST_JETTY = "12.1.0"
ICEBERG_REST_HADOOP = "3.4.2"
ICEBERG_REST_SLF4J = "2.0.17"
ICEBERG_REST_SQLITE = "3.50.3.0"

APICURIO = "3.3.3"
APICURIO_JDK = 21

PYSPARK = "4.1.4"
SPARK_JDK = 17
SPARK_ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"
SPARK_AWS = "org.apache.iceberg:iceberg-aws-bundle:1.12.0"
SPARK_SQLITE = "org.xerial:sqlite-jdbc:3.54.1.0"
