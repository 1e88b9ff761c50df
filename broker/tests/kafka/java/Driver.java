// Driver of the Java client: a request a line in, an answer a line out, each request on a thread of its own.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Driver {
    static final int IDLE_MS = 1_500;
    static final int WAIT_MS = 25_000;
    static final ObjectMapper JSON = new ObjectMapper();

    final String broker;
    final Admin admin;
    final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    final Map<String, Reader> readers = new ConcurrentHashMap<>();
    final Map<String, Reader> closed = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        var driver = new Driver(arguments[0]);
        var threads = Executors.newCachedThreadPool();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = JSON.readTree(line);
            threads.execute(() -> driver.answer(request));
        }
        System.exit(0);
    }

    Driver(String broker) {
        this.broker = broker;
        admin = Admin.create(Map.of("bootstrap.servers", broker, "default.api.timeout.ms", 20_000, "request.timeout.ms", 20_000));
    }

    void answer(JsonNode request) {
        var out = new LinkedHashMap<String, Object>();
        out.put("id", request.get("id").asInt());
        try {
            out.put("gives", step(request.get("step").asText(), request.get("fields")));
        } catch (Throwable error) {
            Throwable cause = error.getCause() != null ? error.getCause() : error;
            int code = Errors.forException(cause).code();
            if (code <= 0) {
                cause.printStackTrace();
            }
            var fails = new HashMap<String, Object>();
            fails.put("code", code > 0 ? code : null);
            fails.put("says", cause.toString());
            out.put("fails", fails);
        }
        try {
            String line = JSON.writeValueAsString(out);
            synchronized (System.out) {
                System.out.println(line);
            }
        } catch (Exception error) {
            error.printStackTrace();
        }
    }

    Object step(String step, JsonNode fields) throws Exception {
        String topic = text(fields, "topic", null);
        String group = text(fields, "group", null);
        Reader reader = readers.get(text(fields, "consumer", "consumer"));
        return switch (step) {
            case "produce" -> produce(topic, fields);
            case "consumer" -> {
                readers.put(text(fields, "as", "consumer"), new Reader(fields));
                yield null;
            }
            case "consume" -> reader.consume(fields);
            case "loop" -> reader.loop();
            case "looped" -> looped(fields.get("consumers"));
            case "seek" -> reader.seek(new TopicPartition(topic, fields.get("partition").asInt()), fields.get("to"));
            case "assignment" -> reader.assignment();
            case "commit" -> reader.commit(fields.get("offsets"));
            case "committed" -> reader.committed(new TopicPartition(topic, fields.get("partition").asInt()));
            case "close" -> close(text(fields, "consumer", "consumer"));
            case "reset" -> reset();
            case "create_topic" -> createTopic(topic, fields);
            case "delete_topic" -> admin.deleteTopics(List.of(topic)).all().get();
            case "list_topics" -> admin.listTopics().names().get();
            case "describe_topic" -> {
                var found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                yield Map.of("topic", found.name(), "partitions", found.partitions().size());
            }
            case "add_partitions" -> admin.createPartitions(
                    Map.of(topic, NewPartitions.increaseTo(fields.get("total").asInt()))).all().get();
            case "topic_config" -> topicConfig(topic, fields.get("names"));
            case "alter_topic_config" -> alterTopicConfig(topic, fields.get("config"));
            case "list_offsets" -> listOffsets(new TopicPartition(topic, fields.get("partition").asInt()), fields.get("at"));
            case "delete_records" -> deleteRecords(fields.get("before"));
            case "list_groups" -> admin.listGroups().all().get().stream().map(one -> one.groupId()).toList();
            case "describe_group" -> {
                var found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                yield Map.of("state", found.groupState().toString(), "members", found.members().size());
            }
            case "delete_group" -> admin.deleteConsumerGroups(List.of(group)).all().get();
            case "group_offsets" -> groupOffsets(group);
            case "alter_group_offsets" -> admin.alterConsumerGroupOffsets(group, offsets(fields.get("offsets"))).all().get();
            case "describe_cluster" -> {
                var found = admin.describeCluster();
                yield Map.of("brokers", found.nodes().get().size(), "controller", found.controller().get().id());
            }
            default -> throw new IllegalArgumentException("no such step: " + step);
        };
    }

    // --- records ---

    Object produce(String topic, JsonNode fields) throws Exception {
        var config = new HashMap<String, Object>();
        config.put("bootstrap.servers", broker);
        config.put("compression.type", text(fields, "compression", "none"));
        config.put("acks", text(fields, "acks", "all"));
        config.put("enable.idempotence", fields.path("idempotent").asBoolean(false));
        config.put("max.request.size", fields.path("max_request_bytes").asInt(1_048_576));
        config.put("linger.ms", 5);
        config.put("delivery.timeout.ms", 40_000);
        KafkaProducer<byte[], byte[]> producer;
        synchronized (producers) {
            producer = producers.computeIfAbsent(config.toString(),
                    name -> new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer()));
        }
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (JsonNode one : fields.get("records")) {
            Integer partition = one.hasNonNull("partition") ? one.get("partition").asInt() : null;
            Long timestamp = one.hasNonNull("timestamp") ? one.get("timestamp").asLong() : null;
            var record = new ProducerRecord<>(topic, partition, timestamp, decoded(one.get("key")), decoded(one.get("value")));
            for (JsonNode header : one.get("headers")) {
                record.headers().add(header.get(0).asText(), decoded(header.get(1)));
            }
            sent.add(producer.send(record));
        }
        var out = new ArrayList<Map<String, Object>>();
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata found = one.get();
            out.add(Map.of("topic", topic, "partition", found.partition(), "offset", found.hasOffset() ? found.offset() : -1));
        }
        return out;
    }

    /** A consumer. Its methods take turns: the client allows one thread at a time. */
    class Reader {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<Map<String, Object>> kept = new ArrayList<>();
        volatile List<Map<String, Object>> assigned = List.of();
        volatile boolean stopped;
        Thread looping;

        Reader(JsonNode fields) {
            var config = new HashMap<String, Object>();
            config.put("bootstrap.servers", broker);
            config.put("group.id", text(fields, "group", "none-" + UUID.randomUUID()));
            config.put("auto.offset.reset", text(fields, "start", "earliest"));
            config.put("enable.auto.commit", fields.path("auto_commit").asBoolean(false));
            config.put("fetch.max.wait.ms", fields.path("max_wait_ms").asInt(500));
            config.put("max.partition.fetch.bytes", fields.path("max_bytes").asInt(1_048_576));
            config.put("session.timeout.ms", 10_000);
            config.put("heartbeat.interval.ms", 500);
            config.put("metadata.max.age.ms", 1_000);
            if (fields.hasNonNull("instance")) {
                config.put("group.instance.id", fields.get("instance").asText());
            }
            if (fields.hasNonNull("assignor")) {
                config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            }
            consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            if (fields.hasNonNull("topics")) {
                var topics = new ArrayList<String>();
                fields.get("topics").forEach(one -> topics.add(one.asText()));
                consumer.subscribe(topics);
                return;
            }
            var offsets = new LinkedHashMap<TopicPartition, Long>();
            fields.get("assign").forEach(
                    one -> offsets.put(new TopicPartition(one.get(0).asText(), one.get(1).asInt()), one.get(2).asLong()));
            consumer.assign(offsets.keySet());
            offsets.forEach(consumer::seek);
        }

        synchronized List<Map<String, Object>> poll() {
            var out = new ArrayList<Map<String, Object>>();
            for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(100))) {
                var record = new LinkedHashMap<String, Object>();
                record.put("topic", one.topic());
                record.put("partition", one.partition());
                record.put("offset", one.offset());
                record.put("timestamp", one.timestamp());
                record.put("key", encoded(one.key()));
                record.put("value", encoded(one.value()));
                var headers = new ArrayList<List<Object>>();
                one.headers().forEach(header -> {
                    var row = new ArrayList<Object>();
                    row.add(header.key());
                    row.add(encoded(header.value()));
                    headers.add(row);
                });
                record.put("headers", headers);
                out.add(record);
            }
            return out;
        }

        Object consume(JsonNode fields) {
            boolean bounded = fields.hasNonNull("count");
            int count = bounded ? fields.get("count").asInt() : Integer.MAX_VALUE;
            long waitMs = fields.hasNonNull("wait_ms") ? fields.get("wait_ms").asLong() : bounded ? WAIT_MS : IDLE_MS;
            long deadline = System.currentTimeMillis() + waitMs;
            var out = new ArrayList<Map<String, Object>>();
            while (out.size() < count && System.currentTimeMillis() < deadline) {
                var found = poll();
                out.addAll(found);
                if (!bounded && !found.isEmpty()) {
                    deadline = System.currentTimeMillis() + waitMs;
                }
            }
            return out;
        }

        Object loop() {
            looping = new Thread(() -> {
                while (!stopped) {
                    try {
                        step();
                    } catch (RuntimeException error) {
                        error.printStackTrace();
                    }
                }
            });
            looping.start();
            return null;
        }

        synchronized void step() {
            var found = poll();
            if (!found.isEmpty()) {
                consumer.commitSync();
            }
            synchronized (kept) {
                kept.addAll(found);
            }
            assigned = rows(consumer.assignment());
        }

        Object assignment() {
            return looping != null ? assigned : rows(consumer.assignment());
        }

        synchronized Object seek(TopicPartition partition, JsonNode to) {
            if (to.isObject()) {
                consumer.seek(partition, consumer.offsetsForTimes(Map.of(partition, to.get("time").asLong())).get(partition).offset());
            } else if (to.isTextual() && to.asText().equals("earliest")) {
                consumer.seekToBeginning(List.of(partition));
            } else if (to.isTextual()) {
                consumer.seekToEnd(List.of(partition));
            } else {
                consumer.seek(partition, to.asLong());
            }
            return null;
        }

        synchronized Object commit(JsonNode offsets) {
            if (offsets == null || offsets.isNull()) {
                consumer.commitSync();
            } else {
                consumer.commitSync(offsets(offsets));
            }
            return null;
        }

        synchronized Object committed(TopicPartition partition) {
            OffsetAndMetadata found = consumer.committed(java.util.Set.of(partition)).get(partition);
            return found == null ? null : Map.of("offset", found.offset(), "metadata", found.metadata());
        }

        void close() throws InterruptedException {
            stopped = true;
            if (looping != null) {
                looping.join();
            }
            synchronized (this) {
                consumer.close();
            }
        }
    }

    Object looped(JsonNode names) {
        var out = new ArrayList<Map<String, Object>>();
        for (JsonNode name : names) {
            Reader reader = readers.getOrDefault(name.asText(), closed.get(name.asText()));
            synchronized (reader.kept) {
                out.addAll(reader.kept);
            }
        }
        return out;
    }

    Object close(String name) throws InterruptedException {
        Reader reader = readers.remove(name);
        closed.put(name, reader);
        reader.close();
        return null;
    }

    Object reset() throws InterruptedException {
        for (String name : List.copyOf(readers.keySet())) {
            close(name);
        }
        closed.clear();
        return null;
    }

    // --- administration ---

    Object createTopic(String topic, JsonNode fields) throws Exception {
        var replicas = (short) fields.path("replication_factor").asInt(1);
        var topics = List.of(new NewTopic(topic, fields.path("partitions").asInt(1), replicas).configs(texts(fields.get("config"))));
        return admin.createTopics(topics).all().get();
    }

    Object topicConfig(String topic, JsonNode names) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var found = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        var out = new HashMap<String, Object>();
        names.forEach(name -> out.put(name.asText(), found.get(name.asText()).value()));
        return out;
    }

    Object alterTopicConfig(String topic, JsonNode config) throws Exception {
        var operations = new ArrayList<AlterConfigOp>();
        texts(config).forEach(
                (name, value) -> operations.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.incrementalAlterConfigs(Map.of(resource, (Collection<AlterConfigOp>) operations)).all().get();
    }

    Object listOffsets(TopicPartition partition, JsonNode at) throws Exception {
        OffsetSpec spec = at.isTextual()
                ? at.asText().equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest()
                : OffsetSpec.forTimestamp(at.asLong());
        return admin.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
    }

    Object deleteRecords(JsonNode before) throws Exception {
        var wanted = new LinkedHashMap<TopicPartition, RecordsToDelete>();
        before.forEach(one -> wanted.put(
                new TopicPartition(one.get(0).asText(), one.get(1).asInt()), RecordsToDelete.beforeOffset(one.get(2).asLong())));
        var found = admin.deleteRecords(wanted).lowWatermarks();
        var out = new ArrayList<Long>();
        for (TopicPartition partition : wanted.keySet()) {
            out.add(found.get(partition).get().lowWatermark());
        }
        return out;
    }

    Object groupOffsets(String group) throws Exception {
        var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        return found.entrySet().stream()
                .sorted(Comparator.comparing(one -> one.getKey().toString()))
                .map(one -> Map.of("topic", one.getKey().topic(), "partition", one.getKey().partition(),
                        "offset", one.getValue().offset(), "metadata", one.getValue().metadata()))
                .toList();
    }

    // --- JSON ---

    static Map<TopicPartition, OffsetAndMetadata> offsets(JsonNode rows) {
        var out = new HashMap<TopicPartition, OffsetAndMetadata>();
        for (JsonNode row : rows) {
            String metadata = row.size() > 3 ? row.get(3).asText() : "";
            out.put(new TopicPartition(row.get(0).asText(), row.get(1).asInt()), new OffsetAndMetadata(row.get(2).asLong(), metadata));
        }
        return out;
    }

    static List<Map<String, Object>> rows(Collection<TopicPartition> partitions) {
        var out = new ArrayList<Map<String, Object>>();
        partitions.forEach(one -> out.add(Map.of("topic", one.topic(), "partition", one.partition())));
        return out;
    }

    static Map<String, String> texts(JsonNode config) {
        var out = new LinkedHashMap<String, String>();
        if (config != null) {
            config.fieldNames().forEachRemaining(name -> out.put(name, config.get(name).asText()));
        }
        return out;
    }

    static String text(JsonNode fields, String name, String otherwise) {
        return fields.hasNonNull(name) ? fields.get(name).asText() : otherwise;
    }

    static byte[] decoded(JsonNode text) {
        return text == null || text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    static String encoded(byte[] data) {
        return data == null ? null : Base64.getEncoder().encodeToString(data);
    }
}
