import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Writes avro.json and partition.json. Arguments: the folder of the schemas, the folder of the vectors. */
public class Vectors {
    static final String LATER_TRANSFER = """
        {"type":"record","name":"Transfer","namespace":"net.devaction.kafka.avro","fields":[
        {"name":"note","type":["null","string"],"default":null},
        {"name":"id","type":"string"},{"name":"account_id","type":"string"},
        {"name":"amount_unscaled","type":"long"},{"name":"amount_scale","type":"int"},
        {"name":"transfer_TS","type":"long"},{"name":"tags","type":{"type":"array","items":"string"}}]}
        """.replaceAll("\\n\\s*", "");
    static final int[] PARTITIONS = {1, 2, 6, 12, 50};

    static Schema transfer;
    static Schema balance;

    public static void main(String[] args) throws IOException {
        Path schemas = Path.of(args[0]);
        transfer = new Schema.Parser().parse(schemas.resolve("transfer.avsc").toFile());
        balance = new Schema.Parser().parse(schemas.resolve("account-balance.avsc").toFile());
        Files.writeString(Path.of(args[1], "avro.json"), avro());
        Files.writeString(Path.of(args[1], "partition.json"), partition());
    }

    static String avro() throws IOException {
        List<String> transfers = List.of(
            transfer("a credit", 1, "t-1-c", "acc-0001", 1250, 2, 1795540800000L),
            transfer("a debit", 1, "t-1-d", "acc-0002", -1250, 2, 1795540800000L),
            transfer("nothing", 2, "t-2", "acc-0001", 0, 0, 0),
            transfer("the largest", 2147483647, "t-max", "acc-0001", Long.MAX_VALUE, 18, 253402300799999L),
            transfer("the smallest", 7, "t-min", "acc-0001", Long.MIN_VALUE, 18, 1),
            transfer("all extremes of the format", 4, "x", "y", Long.MIN_VALUE, Integer.MAX_VALUE, Long.MAX_VALUE),
            transfer("negative extremes", 5, "x", "y", -1, Integer.MIN_VALUE, Long.MIN_VALUE),
            transfer("the longest ids", 3, "T".repeat(64), "A".repeat(64), 1, 0, 1),
            transfer("empty ids", 3, "", "", 1, 0, 1),
            transfer("ids beyond ASCII", 3, "\u00fc-\u2603", "\ud83d\ude00", -64, 1, 63),
            transfer("lengths around one byte of a varint", 3, "a".repeat(63), "b".repeat(65), 64, 0, -65));
        List<String> balances = List.of(
            balance("an opened account", 2, "acc-0001", "client-1", "", 0, 2, 0),
            balance("after a transfer", 2, "acc-0001", "client-1", "t-1-c", 1250, 2, 1),
            balance("below zero", 2, "acc-0002", "client-2", "t-1-d", -1250, 2, 1),
            balance("a client beyond ASCII", 2, "acc-0003", "K\u00f6nig \u2603 \ud83d\ude00", "t-9", 5, 1, 9),
            balance("no client", 2, "acc-0004", "", "t-9", 5, 1, 9),
            balance("the largest", 9, "acc-0005", "client-5", "t-max", Long.MAX_VALUE, 18, Long.MAX_VALUE),
            balance("the smallest", 9, "acc-0006", "client-6", "t-min", Long.MIN_VALUE, Integer.MIN_VALUE, Long.MIN_VALUE),
            balance("empty texts", 9, "", "", "", -1, 0, 1));
        List<String> later = List.of(
            later("without a note", 8, null, "t-1-c", "acc-0001", 1250, 2, 1795540800000L),
            later("with a note", 8, "for the flat", "t-1-d", "acc-0002", -1250, 2, 1795540800000L));
        return "{\n \"about\": \"Framed values written by Java's Avro library. 64-bit numbers are strings. "
            + "`later` was written with a later schema and is read with ours.\",\n \"later_schema\": " + text(LATER_TRANSFER)
            + ",\n" + list("transfers", transfers) + ",\n" + list("balances", balances) + ",\n" + list("later", later) + "\n}\n";
    }

    static String transfer(String name, int schema, String id, String account, long unscaled, int scale, long time)
            throws IOException {
        GenericRecord record = fill(transfer, id, account, unscaled, scale, time);
        return transferCase(name, schema, record, id, account, unscaled, scale, time);
    }

    static String later(String name, int schema, String note, String id, String account, long unscaled, int scale, long time)
            throws IOException {
        GenericRecord record = fill(new Schema.Parser().parse(LATER_TRANSFER), id, account, unscaled, scale, time);
        record.put("note", note);
        record.put("tags", List.of("one", ""));
        return transferCase(name, schema, record, id, account, unscaled, scale, time);
    }

    static GenericRecord fill(Schema schema, String id, String account, long unscaled, int scale, long time) {
        GenericRecord record = new GenericData.Record(schema);
        record.put("id", id);
        record.put("account_id", account);
        record.put("amount_unscaled", unscaled);
        record.put("amount_scale", scale);
        record.put("transfer_TS", time);
        return record;
    }

    static String transferCase(String name, int schema, GenericRecord record, String id, String account, long unscaled,
            int scale, long time) throws IOException {
        return "{\"name\": " + text(name) + ", \"schema_id\": " + schema + ", \"id\": " + text(id) + ", \"account_id\": "
            + text(account) + ", \"amount_unscaled\": \"" + unscaled + "\", \"amount_scale\": " + scale
            + ", \"transfer_TS\": \"" + time + "\",\n   \"hex\": \"" + framed(schema, record) + "\"}";
    }

    static String balance(String name, int schema, String account, String client, String id, long unscaled, int scale,
            long version) throws IOException {
        GenericRecord record = new GenericData.Record(balance);
        record.put("account_id", account);
        record.put("client_id", client);
        record.put("transfer_id", id);
        record.put("balance_unscaled", unscaled);
        record.put("balance_scale", scale);
        record.put("version", version);
        return "{\"name\": " + text(name) + ", \"schema_id\": " + schema + ", \"account_id\": " + text(account)
            + ", \"client_id\": " + text(client) + ", \"transfer_id\": " + text(id) + ", \"balance_unscaled\": \""
            + unscaled + "\", \"balance_scale\": " + scale + ", \"version\": \"" + version + "\",\n   \"hex\": \""
            + framed(schema, record) + "\"}";
    }

    static String framed(int schema, GenericRecord record) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(0);
        out.write(ByteBuffer.allocate(4).putInt(schema).array());
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(record.getSchema()).write(record, encoder);
        encoder.flush();
        return HexFormat.of().formatHex(out.toByteArray());
    }

    static String partition() {
        List<String> keys = new ArrayList<>(List.of("", "a", "ab", "abc", "abcd", "abcde", "A".repeat(64), "K\u00f6nig \u2603"));
        for (int n = 1; n <= 24; n++) {
            keys.add(String.format("acc-%04d", n));
        }
        List<String> cases = keys.stream().map(Vectors::partitionCase).toList();
        return "{\n \"about\": \"The partition that Java's Kafka client chooses for a key (UTF-8), by the number of partitions.\",\n"
            + list("keys", cases) + "\n}\n";
    }

    static String partitionCase(String key) {
        byte[] bytes = key.getBytes(StandardCharsets.UTF_8);
        StringBuilder partitions = new StringBuilder();
        for (int count : PARTITIONS) {
            partitions.append(partitions.isEmpty() ? "" : ", ").append('"').append(count).append("\": ")
                .append(BuiltInPartitioner.partitionForKey(bytes, count));
        }
        return "{\"key\": " + text(key) + ", \"murmur2\": " + Utils.murmur2(bytes) + ", \"partitions\": {" + partitions + "}}";
    }

    static String list(String name, List<String> cases) {
        return " \"" + name + "\": [\n  " + String.join(",\n  ", cases) + "\n ]";
    }

    static String text(String value) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : value.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20 || c > 0x7e) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
