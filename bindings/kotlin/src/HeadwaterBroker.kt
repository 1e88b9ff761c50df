// A broker for a test suite: the program, which the class path carries, as a process beside this one.
package headwater

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.attribute.PosixFilePermissions
import java.util.concurrent.TimeUnit

/**
 * A broker beside this process, for tests: in memory, on a free loopback port, creating topics as they are used. It
 * speaks Kafka's protocol and Headwater's own on the same port.
 *
 *     HeadwaterBroker.start().use { broker ->
 *         val producer = KafkaProducer<String, String>(mapOf("bootstrap.servers" to broker.bootstrapServers, ...))
 *     }
 *
 * From Java: `try (var broker = HeadwaterBroker.start()) { ... broker.getBootstrapServers() ... }`. It ends with
 * [close], and with this process, however that ends.
 */
class HeadwaterBroker private constructor(private val process: Process, private val log: File, private val listening: String) :
    AutoCloseable {
    /** What Kafka's clients are given: `127.0.0.1:54321`. */
    val bootstrapServers: String get() = listening

    /** The same, as [Headwater.connect] takes it. */
    val address: String get() = listening

    /** Whether it is still there. */
    val isRunning: Boolean get() = process.isAlive

    /** Ends it; what clients are still asking for is cut off. */
    override fun close() {
        end(process)
        log.delete()
    }

    override fun toString(): String = "HeadwaterBroker($listening)"

    companion object {
        /** How long [close] waits for the process before it is killed. */
        const val CLOSE_TIMEOUT_S: Long = 10

        /**
         * Starts one, with options of the broker by their names, such as `max_connections`.
         *
         * Fails with an [IOException] if the class path carries no program for this platform, or if the program ends
         * before it listens; the message holds what it said.
         */
        @JvmStatic
        @JvmOverloads
        fun start(options: Map<String, String> = emptyMap()): HeadwaterBroker {
            val log = File.createTempFile("headwater-broker-", ".log").apply { deleteOnExit() }
            // What a test has left open, or still asks for, is not waited for.
            val arguments = listOf("--json", "serve", "--dev", "--listen", "127.0.0.1:0", "--set", "close_timeout_ms=0") +
                options.flatMap { (name, value) -> listOf("--set", "$name=$value") }
            val command = listOf("/bin/sh", "-c", GUARD, program.toString(), log.path) + arguments
            val process = ProcessBuilder(command).redirectError(log).start()
            val line = process.inputStream.bufferedReader().readLine()
            val listening = line?.let { Regex("\"listening\":\\[\"([^\"]+)\"").find(it) }?.groupValues?.get(1)
            if (listening != null) return HeadwaterBroker(process, log, listening)
            end(process)
            val said = log.readText().trim()
            log.delete()
            throw IOException("the broker did not start: ${line ?: said}")
        }

        /**
         * Runs the program until a line comes, or the end of the input, which is the end of this process, be it killed:
         * then nobody else removes the files.
         */
        private const val GUARD = "log=\$1; shift; \"\$0\" \"\$@\" & broker=\$!; exec >/dev/null; " +
            "read closed || rm -f \"\$0\" \"\$log\"; kill \"\$broker\" 2>/dev/null; wait \"\$broker\""

        /** The program, unpacked once for this process, and removed with it. */
        private val program: Path by lazy {
            val resource = "/headwater/$platform/headwater"
            val packed = HeadwaterBroker::class.java.getResourceAsStream(resource)
                ?: throw IOException("the class path has no $resource: there is no broker for this platform")
            val executable = PosixFilePermissions.fromString("rwx------")
            val path = Files.createTempFile("headwater-", "", PosixFilePermissions.asFileAttribute(executable))
            path.toFile().deleteOnExit()
            packed.use { from -> Files.newOutputStream(path).use { from.transferTo(it) } }
            path
        }

        /** `linux-x86_64`, `macos-aarch64`: the folder of the program; `bindings/kotlin/build` has the same names. */
        private val platform: String
            get() {
                val system = System.getProperty("os.name").lowercase()
                val processor = System.getProperty("os.arch")
                val name = if (system.startsWith("mac")) "macos" else system.substringBefore(' ')
                return "$name-${mapOf("amd64" to "x86_64", "arm64" to "aarch64").getOrDefault(processor, processor)}"
            }

        private fun end(process: Process) {
            // It may have ended before, and reads nothing then.
            runCatching { process.outputStream.use { it.write('\n'.code) } }
            if (process.waitFor(CLOSE_TIMEOUT_S, TimeUnit.SECONDS)) return
            process.descendants().forEach { it.destroyForcibly() }
            process.destroyForcibly().waitFor()
        }
    }
}
