// Folders, logs and brokers for the tests.
package headwater

import java.io.File
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlinx.coroutines.runBlocking

private val scratch = File(checkNotNull(System.getenv("HEADWATER_SCRATCH")) { "HEADWATER_SCRATCH names a folder" })
private val cli = checkNotNull(System.getenv("HEADWATER_CLI")) { "HEADWATER_CLI names the program" }
private val last = AtomicInteger()

/** A path where nothing is yet. */
internal fun newPath(): File = File(scratch, "kotlin-${ProcessHandle.current().pid()}-${last.incrementAndGet()}")

/** A log in memory with a topic of [partitions] partitions, closed at the end. */
internal fun inMemory(partitions: Int = 1, test: suspend (Client) -> Unit) = runBlocking {
    Headwater.connect("mem:").use { db ->
        db.admin.createTopic("orders", partitions)
        test(db)
    }
}

internal inline fun fails(kind: ErrorKind, code: String, call: () -> Unit): HeadwaterException {
    val error = assertFailsWith<HeadwaterException> { call() }
    assertEquals(kind to code, error.kind to error.code, error.message)
    return error
}

/** Runs the command line; returns what it printed. */
internal fun headwater(vararg arguments: String): String = run(listOf(cli) + arguments)

/** Runs `main` of a class in a JVM of its own. */
internal fun java(mainClass: String, vararg arguments: String): String = run(javaCommand(mainClass, *arguments))

/** The command that does so. */
internal fun javaCommand(mainClass: String, vararg arguments: String): List<String> {
    val java = File(System.getProperty("java.home"), "bin/java").path
    val properties = listOf("jna.tmpdir", "jna.library.path").map { "-D$it=${System.getProperty(it)}" }
    return listOf(java) + properties + listOf("-cp", System.getProperty("java.class.path"), mainClass) + arguments
}

private fun run(command: List<String>): String {
    val process = ProcessBuilder(command).redirectErrorStream(true).start()
    process.outputStream.close()
    val output = process.inputStream.bufferedReader().readText()
    assertEquals(0, process.waitFor(), "$command: $output")
    return output
}

/** A broker on a free port, in memory unless told otherwise; its address. */
internal fun withBroker(data: List<String> = listOf("--dev"), listen: String = "127.0.0.1:0", test: suspend (String) -> Unit) =
    withBrokerProcess(data, listen) { address, _ -> test(address) }

/** A broker that can be stopped: then it says nothing more, and its connections stay. */
internal fun withStoppingBroker(test: suspend (String, stop: () -> Unit) -> Unit) =
    withBrokerProcess(listOf("--dev"), "127.0.0.1:0") { address, broker ->
        try {
            test(address) { run(listOf("kill", "-STOP", "${broker.pid()}")) }
        } finally {
            run(listOf("kill", "-CONT", "${broker.pid()}"))
        }
    }

private fun withBrokerProcess(data: List<String>, listen: String, test: suspend (String, Process) -> Unit) {
    val command = listOf(cli, "--json", "serve", "--listen", listen) + data
    val broker = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start()
    try {
        val line = broker.inputStream.bufferedReader().readLine()
        runBlocking { test(Regex("127\\.0\\.0\\.1:\\d+|unix:[^\"]+").find(line)!!.value, broker) }
    } finally {
        broker.destroy()
        broker.waitFor(10, TimeUnit.SECONDS)
    }
}
